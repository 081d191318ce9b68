import { readFile, stat } from 'node:fs/promises';
import type { Clock } from '../lib/clock.ts';
import type { Log } from '../lib/log.ts';

/** Milliseconds between two looks at the file. */
const interval = 1000;

const bcryptHash = /^\$2[aby]\$(?:0[4-9]|[12][0-9]|3[01])\$[./A-Za-z0-9]{53}$/;

/** Whether a text is a bcrypt hash (`$2a$`, `$2b$` or `$2y$`, cost 4 to 31). */
export function isBcryptHash(text: string): boolean {
  return bcryptHash.test(text);
}

/**
 * Reads an htpasswd file: `name:hash` a line; empty lines and those that begin with `#` are skipped. Only bcrypt
 * hashes count (`htpasswd -B`). Of a name that stands there twice the first one counts, as in Apache.
 * `problems` says of each line that was left out which it is and why, without the hash.
 */
export function parseHtpasswd(text: string): {
  readonly hashes: ReadonlyMap<string, string>;
  readonly problems: readonly string[];
} {
  const hashes = new Map<string, string>();
  const problems: string[] = [];
  for (const [index, raw] of text.split('\n').entries()) {
    const line = raw.trim();
    if (line === '' || line.startsWith('#')) continue;
    const colon = line.indexOf(':');
    const name = line.slice(0, Math.max(0, colon));
    const hash = line.slice(colon + 1);
    if (name === '') problems.push(`line ${index + 1} is not of the form name:hash`);
    else if (!isBcryptHash(hash)) {
      problems.push(`line ${index + 1}: the hash is not bcrypt; make it with htpasswd -B`);
    } else if (hashes.has(name))
      problems.push(`line ${index + 1}: the name stands on an earlier line already`);
    else hashes.set(name, hash);
  }
  return { hashes, problems };
}

/** The users of an htpasswd file, which is read again when it changes. */
export class HtpasswdFile {
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #path: string;
  #hashes: ReadonlyMap<string, string> = new Map();
  #state = '';
  #lookedAt = Number.NEGATIVE_INFINITY;
  #looking: Promise<void> | undefined;

  private constructor(deps: { clock: Clock; log: Log }, path: string) {
    this.#clock = deps.clock;
    this.#log = deps.log;
    this.#path = path;
  }

  /** Reads the file for the first time. @throws the system's error when it cannot be read */
  static async open(deps: { clock: Clock; log: Log }, path: string): Promise<HtpasswdFile> {
    const file = new HtpasswdFile(deps, path);
    await file.#load();
    file.#lookedAt = deps.clock.now();
    return file;
  }

  /** Its users and their hashes, as last read. */
  get hashes(): ReadonlyMap<string, string> {
    return this.#hashes;
  }

  /**
   * Looks at the file again, at most once a second: resolves once `hashes` is up to date; `undefined` when it
   * is already. A file that cannot be read leaves the users as they were and is logged.
   */
  refresh(): Promise<void> | undefined {
    if (this.#looking !== undefined) return this.#looking;
    const passed = this.#clock.now() - this.#lookedAt;
    if (passed >= 0 && passed < interval) return undefined;
    this.#looking = this.#look().finally(() => {
      this.#lookedAt = this.#clock.now();
      this.#looking = undefined;
    });
    return this.#looking;
  }

  async #look(): Promise<void> {
    try {
      await this.#load();
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException;
      if (this.#state === `unreadable ${code}`) return;
      this.#state = `unreadable ${code}`;
      this.#log.warn(
        { path: this.#path, cause: message },
        'the htpasswd file cannot be read: its users stay',
      );
    }
  }

  async #load(): Promise<void> {
    const { mtimeMs, size, ino } = await stat(this.#path);
    const state = `${mtimeMs} ${size} ${ino}`;
    if (state === this.#state) return;
    const { hashes, problems } = parseHtpasswd(await readFile(this.#path, 'utf8'));
    this.#hashes = hashes;
    this.#state = state;
    if (problems.length > 0) {
      this.#log.warn({ path: this.#path, problems }, 'lines of the htpasswd file are left out');
    }
  }
}
