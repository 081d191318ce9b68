import { stringify } from 'yaml';
import { type ConfigDocument, parseDocumentText } from './document.ts';
import { ConfigError, type ConfigPath, type ConfigProblem, pathText } from './problems.ts';
import { isRegistryHostText } from './schema/scalars.ts';
import { isDigestText } from './schema/selectors.ts';

/** What a tag is locked to. */
export type LockedTag = {
  /** Of the manifest, or of the index when there are several platforms. */
  readonly digest: string;
  /** Manifest digests by platform, such as `linux/arm/v7`; absent when `digest` is a manifest itself. */
  readonly platforms?: Readonly<Record<string, string>>;
};

/** Locked tags by image (`registry/repository`), then by tag. No map has a prototype. */
export type LockedImages = Readonly<Record<string, Readonly<Record<string, LockedTag>>>>;

/** The content of a lockfile. */
export type Lockfile = { readonly images: LockedImages };

const component = '[a-z0-9]+(?:(?:\\.|_|__|-+)[a-z0-9]+)*';
const repository = new RegExp(`^${component}(?:/${component})*$`);
const tagName = /^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$/;
const platformName = /^[A-Za-z0-9_.()-]+(?:\/[A-Za-z0-9_.-]+){1,2}$/;

const digestForm = 'must be a digest: sha256: and 64, or sha512: and 128 lower case hexadecimal digits';
const header = `# Written by "entrepot lock IMAGE... -o FILE": the digests at which these images are served.
# Run it again to move them; with --check it tells whether this file is what it would write.
`;

/**
 * Reads a lockfile. Unknown keys, malformed names and digests, and a map that is empty where an entry is meant are
 * refused.
 * @param name what the file is called in the error's message
 * @throws ConfigError naming every problem with its line.
 */
export function parseLockfile(text: string, name = 'lockfile'): Lockfile {
  const document = parseDocumentText(text);
  const reader = new LockfileReader(document);
  const images = document.value === undefined ? {} : reader.read(document.value);
  const problems = [...document.problems, ...reader.problems];
  if (problems.length > 0) throw new ConfigError(name, problems);
  return { images };
}

/**
 * Writes a lockfile: sorted by code unit, one digest a line, so that the same content is the same text and a change
 * is a small difference. `parseLockfile` reads it back.
 */
export function formatLockfile(lock: Lockfile): string {
  const images = sorted(lock.images, (tags) => {
    return sorted(tags, ({ digest, platforms }) => {
      const entry = new Map<string, unknown>([['digest', digest]]);
      if (platforms)
        entry.set(
          'platforms',
          sorted(platforms, (each) => each),
        );
      return entry;
    });
  });
  const content = new Map<string, unknown>([
    ['version', 1],
    ['images', images],
  ]);
  // Keys such as 3.10 and yes are quoted, so that every reader of YAML takes them for the text that they are.
  return header + stringify(content, { lineWidth: 0, compat: 'yaml-1.1' });
}

/** A `Map`, since an object would put keys such as 16 before all others. */
function sorted<T>(entries: Readonly<Record<string, T>>, write: (value: T) => unknown): Map<string, unknown> {
  const inOrder = Object.entries(entries).sort(([a], [b]) => (a < b ? -1 : 1));
  return new Map(inOrder.map(([key, value]) => [key, write(value)]));
}

/** Walks a document and keeps what is wrong with it. */
class LockfileReader {
  readonly #document: ConfigDocument;
  readonly problems: ConfigProblem[] = [];

  constructor(document: ConfigDocument) {
    this.#document = document;
  }

  read(value: unknown): LockedImages {
    const top = this.#map([], value, ['version', 'images']);
    if (top['version'] !== 1) this.#problem(['version'], 'must be 1, the only version of lockfiles');
    return this.#entries(['images'], top['images'], {
      mayBeEmpty: true,
      isKey: isImageText,
      keyForm: 'must be registry/repository, such as docker.io/library/python',
      read: (path, tags) => this.#tags(path, tags),
    });
  }

  #tags(path: ConfigPath, value: unknown): Record<string, LockedTag> {
    return this.#entries(path, value, {
      isKey: (text) => tagName.test(text),
      keyForm: 'must be a tag',
      read: (tagPath, tag) => this.#tag(tagPath, tag),
    });
  }

  #tag(path: ConfigPath, value: unknown): LockedTag {
    const { digest, platforms } = this.#map(path, value, ['digest', 'platforms']);
    if (!isMap(value)) return { digest: '' };
    const locked = { digest: this.#digest([...path, 'digest'], digest) };
    if (platforms === undefined) return locked;
    const byPlatform = this.#entries([...path, 'platforms'], platforms, {
      isKey: (text) => platformName.test(text),
      keyForm: 'must be a platform, such as linux/amd64',
      read: (platformPath, each) => this.#digest(platformPath, each),
    });
    return { ...locked, platforms: byPlatform };
  }

  #digest(path: ConfigPath, value: unknown): string {
    if (typeof value === 'string' && isDigestText(value)) return value;
    this.#problem(path, value === undefined ? 'is required' : digestForm);
    return '';
  }

  #entries<T>(
    path: ConfigPath,
    value: unknown,
    entry: {
      mayBeEmpty?: true;
      isKey: (key: string) => boolean;
      keyForm: string;
      read: (path: ConfigPath, value: unknown) => T;
    },
  ): Record<string, T> {
    const map = this.#map(path, value);
    const result: Record<string, T> = Object.create(null);
    for (const [key, child] of Object.entries(map)) {
      if (!entry.isKey(key)) this.#problem([...path, key], entry.keyForm);
      result[key] = entry.read([...path, key], child);
    }
    const wrong = isMap(value) && Object.keys(map).length === 0 && !entry.mayBeEmpty;
    if (wrong) this.#problem(path, 'must not be empty');
    return result;
  }

  /** The map at `path`, empty when it is none; of its keys only `known` ones pass, where these are given. */
  #map(path: ConfigPath, value: unknown, known?: readonly string[]): Readonly<Record<string, unknown>> {
    if (!isMap(value)) {
      this.#problem(path, value === undefined ? 'is required' : 'must be a map of keys to values');
      return {};
    }
    for (const key of known ? Object.keys(value) : []) {
      if (!known?.includes(key))
        this.#problem([...path, key], `unknown key, known here: ${known?.join(', ')}`);
    }
    return value;
  }

  #problem(path: ConfigPath, message: string): void {
    const line = this.#document.lineOf(path);
    this.problems.push({ path: pathText(path), ...(line !== undefined && { line }), message });
  }
}

function isImageText(text: string): boolean {
  const slash = text.indexOf('/');
  const name = text.slice(slash + 1);
  return slash > 0 && isRegistryHostText(text.slice(0, slash)) && name.length <= 255 && repository.test(name);
}

function isMap(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
