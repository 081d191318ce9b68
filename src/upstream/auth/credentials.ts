import type { Clock } from '../../lib/clock.ts';
import { Flights } from '../../lib/flights.ts';
import { type Credential, CredentialError, sameCredential } from './credential.ts';
import { runCredentialHelper } from './credential-helper.ts';
import { readDockerConfig } from './docker-config.ts';

/** Where the credentials for one upstream come from: one of these, or nothing. */
export type CredentialOptions = {
  readonly username?: string;
  readonly password?: string;
  /** The path of a `config.json` as `docker login` writes it. */
  readonly dockerConfig?: string;
  /** `NAME` of a `docker-credential-NAME` program. */
  readonly credentialHelper?: string;
};

/** The credentials for one upstream's host. */
export type CredentialSource = {
  /** What is to be sent now; `undefined`: nothing is known. Rejects with a {@link CredentialError}, or the signal's reason. */
  get(signal: AbortSignal): Promise<Credential | undefined>;
  /** Says that a credential was refused, so that the next `get` looks again. */
  refused(credential: Credential): void;
  /** Ends what is under way. */
  close(): void;
};

/** Milliseconds for which a source that gave the same again after a refusal, or nothing, is not asked once more. */
const patience = 60_000;

/** Milliseconds for which a source that failed is not asked again. */
const failurePatience = 10_000;

/**
 * The source for an upstream by its options; `undefined` without any. Whatever is fetched is what the file or the
 * helper holds for the upstream's own host and port. Throws a `TypeError` for options that contradict each other.
 */
export function credentialSource(
  deps: { clock: Clock },
  upstream: URL,
  options: CredentialOptions,
): CredentialSource | undefined {
  const { username, password, dockerConfig, credentialHelper } = options;
  if ([username, dockerConfig, credentialHelper].filter((given) => given !== undefined).length > 1) {
    throw new TypeError('an upstream has a username, or a dockerConfig, or a credentialHelper');
  }
  if (username !== undefined && password !== undefined) {
    return fixedCredentials({ kind: 'password', username, password });
  }
  if (dockerConfig !== undefined) {
    return new FetchedCredentials(deps, (signal) => readDockerConfig(dockerConfig, upstream, signal));
  }
  if (credentialHelper === undefined) return undefined;
  return new FetchedCredentials(deps, async (signal) => {
    const found = await runCredentialHelper(credentialHelper, upstream, signal);
    if (found !== undefined) return found;
    throw new CredentialError(
      `docker-credential-${credentialHelper} knows no credentials for ${upstream.host}`,
    );
  });
}

/** A source that has always the same. */
export function fixedCredentials(credential: Credential): CredentialSource {
  return { get: () => Promise.resolve(credential), refused: () => {}, close: () => {} };
}

type Held =
  | { readonly kind: 'found'; readonly credential: Credential }
  | { readonly kind: 'none'; readonly until: number }
  | { readonly kind: 'failed'; readonly error: CredentialError; readonly until: number };

/** Credentials that are fetched once, and again when they were refused. */
class FetchedCredentials implements CredentialSource {
  readonly #clock: Clock;
  readonly #fetch: (signal: AbortSignal) => Promise<Credential | undefined>;
  readonly #looks = new Flights<Credential | undefined>();
  #held: Held | undefined;
  #refused: { readonly credential: Credential; readonly at: number } | undefined;

  /** `fetch` throws a {@link CredentialError} when it fails; its signal aborts when the source is closed. */
  constructor(deps: { clock: Clock }, fetch: (signal: AbortSignal) => Promise<Credential | undefined>) {
    this.#clock = deps.clock;
    this.#fetch = fetch;
  }

  async get(signal: AbortSignal): Promise<Credential | undefined> {
    const held = this.#held;
    if (held?.kind === 'found') return held.credential;
    if (held !== undefined && this.#clock.now() < held.until) {
      if (held.kind === 'failed') throw held.error;
      return undefined;
    }
    const { value } = await this.#looks.join('', (own) => this.#look(own), signal);
    return value;
  }

  refused(credential: Credential): void {
    const held = this.#held;
    if (held?.kind !== 'found' || !sameCredential(held.credential, credential)) return;
    const last = this.#refused;
    const now = this.#clock.now();
    if (last && sameCredential(last.credential, credential) && now - last.at < patience) return;
    this.#refused = { credential, at: now };
    this.#held = undefined;
  }

  close(): void {
    void this.#looks.close(new Error('the upstream client was closed'));
  }

  async #look(signal: AbortSignal): Promise<Credential | undefined> {
    try {
      const credential = await this.#fetch(signal);
      this.#held =
        credential === undefined
          ? { kind: 'none', until: this.#clock.now() + patience }
          : { kind: 'found', credential };
      return credential;
    } catch (error) {
      if (error instanceof CredentialError) {
        this.#held = { kind: 'failed', error, until: this.#clock.now() + failurePatience };
      }
      throw error;
    }
  }
}
