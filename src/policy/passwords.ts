import { hash as digestOf, randomBytes } from 'node:crypto';
import { neverAborted } from '../lib/abort.ts';
import type { Clock } from '../lib/clock.ts';
import type { Tell } from '../lib/facts.ts';
import { Flights } from '../lib/flights.ts';
import type { Log } from '../lib/log.ts';
import { Remembered } from '../lib/remembered.ts';
import { BcryptThread } from './bcrypt-thread.ts';
import type { HtpasswdFile } from './htpasswd.ts';
import type { LoginThrottle } from './login-throttle.ts';

/** The result of checking a name and a password. `limited`: the client failed too often to be heard now. */
type PasswordVerdict =
  | { readonly kind: 'right' }
  | { readonly kind: 'wrong' }
  | { readonly kind: 'limited' /** Whole seconds. */; readonly retryAfter: number };

/** How a login ended: its password was compared, or it was turned away without that. */
export type LoginResult = 'accepted' | 'refused' | 'limited';

/** A login was decided. */
export type LoginFact = { readonly kind: 'login-ended'; readonly result: LoginResult };

/** Milliseconds for which a verdict is remembered, so that not each request of a pull costs a hash. */
const remembered = 60_000;

/** Verdicts remembered at once. */
const mostVerdicts = 2_000;

/** Comparisons that may wait for the thread, about ten seconds of its work; more are turned away. */
const mostPending = 100;

const right: PasswordVerdict = { kind: 'right' };
const wrong: PasswordVerdict = { kind: 'wrong' };

/**
 * The users' passwords, from the configuration and an htpasswd file (the configuration goes first). A name that
 * nobody has costs as much as a wrong password: it is compared with the hash of somebody else, in vain.
 */
export class Passwords {
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #facts: Tell<LoginFact>;
  readonly #configured: ReadonlyMap<string, string>;
  readonly #file: HtpasswdFile | undefined;
  readonly #throttle: LoginThrottle;
  readonly #thread = new BcryptThread();
  /** A key of this process alone: what is remembered cannot be tried out elsewhere. */
  readonly #key = randomBytes(32).toString('base64');
  readonly #verdicts: Remembered<PasswordVerdict>;
  readonly #comparisons = new Flights<PasswordVerdict>();

  /** @param options.hashes bcrypt hashes by user */
  constructor(
    deps: {
      clock: Clock;
      log: Log;
      throttle: LoginThrottle;
      file?: HtpasswdFile | undefined;
      /** Told of each password that was compared, or turned away. */
      facts: Tell<LoginFact>;
    },
    options: { hashes: ReadonlyMap<string, string> },
  ) {
    this.#clock = deps.clock;
    this.#log = deps.log;
    this.#file = deps.file;
    this.#facts = deps.facts;
    this.#configured = options.hashes;
    this.#throttle = deps.throttle;
    this.#verdicts = new Remembered(deps, { most: mostVerdicts });
  }

  /** Whether there can be users at all. */
  get any(): boolean {
    return this.#configured.size > 0 || this.#file !== undefined;
  }

  /** Whether there is a user of that name, as far as is known without waiting. */
  knows(name: string): boolean {
    void this.#file?.refresh();
    return this.#hashOf(name) !== undefined;
  }

  /**
   * Checks a password; at once when the verdict is remembered.
   * @param client the address that failures are counted for
   * @throws BcryptError when the password thread fails
   */
  check(name: string, password: string, client: string): PasswordVerdict | Promise<PasswordVerdict> {
    const refreshing = this.#file?.refresh();
    if (refreshing === undefined) return this.#judge(name, password, client);
    return refreshing.then(() => this.#judge(name, password, client));
  }

  /** Ends the password thread. */
  close(): Promise<void> {
    return this.#thread.close();
  }

  #judge(name: string, password: string, client: string): PasswordVerdict | Promise<PasswordVerdict> {
    const own = this.#hashOf(name);
    const hash = own ?? this.#decoy(name);
    if (hash === undefined) return wrong;
    const key = this.#digest(JSON.stringify([name, hash, password]));
    const kept = this.#verdicts.get(key);
    if (kept !== undefined) return kept;
    const wait = this.#comparisons.has(key) ? undefined : this.#turnedAway(client);
    if (wait !== undefined) return { kind: 'limited', retryAfter: wait };
    const compare = async () => {
      const verdict = await this.#compare(password, hash, client, own === undefined ? undefined : name);
      this.#verdicts.set(key, verdict, this.#clock.now() + remembered);
      return verdict;
    };
    return this.#comparisons.join(key, compare, neverAborted).then(({ value }) => value);
  }

  /** Whole seconds for which a client is not heard; `undefined` when it is now. */
  #turnedAway(client: string): number | undefined {
    const busy = this.#thread.pending >= mostPending ? 1 : undefined;
    const wait = busy ?? this.#throttle.take(client);
    if (wait !== undefined) this.#facts.tell({ kind: 'login-ended', result: 'limited' });
    return wait;
  }

  async #compare(
    password: string,
    hash: string,
    client: string,
    user: string | undefined,
  ): Promise<PasswordVerdict> {
    const agrees = await this.#thread.compare(password, hash).catch((error: unknown) => {
      this.#throttle.giveBack(client);
      throw error;
    });
    if (agrees && user !== undefined) {
      this.#throttle.giveBack(client);
      this.#facts.tell({ kind: 'login-ended', result: 'accepted' });
      return right;
    }
    this.#facts.tell({ kind: 'login-ended', result: 'refused' });
    // A name that nobody has may be a password typed into the wrong field.
    this.#log.warn({ client, user }, 'login failed');
    return wrong;
  }

  #hashOf(name: string): string | undefined {
    return this.#configured.get(name) ?? this.#file?.hashes.get(name);
  }

  /** Somebody's hash, always the same for a name, so that costs are spread over made-up names as over real ones. */
  #decoy(name: string): string | undefined {
    const hashes = [...this.#configured.values(), ...(this.#file?.hashes.values() ?? [])];
    return hashes[
      Number.parseInt(this.#digest(`decoy ${name}`).slice(0, 8), 16) % Math.max(1, hashes.length)
    ];
  }

  /** One call of the one-shot hash costs a twentieth of an HMAC; nobody outside ever sees what it yields. */
  #digest(text: string): string {
    return digestOf('sha256', this.#key + text, 'hex');
  }
}
