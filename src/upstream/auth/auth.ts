import type { Clock } from '../../lib/clock.ts';
import type { Log } from '../../lib/log.ts';
import { type Challenge, parseChallenges } from '../../oci/challenge.ts';
import type { SmallHttp } from '../http/small-http.ts';
import { UpstreamError, type UpstreamRefusal } from '../result.ts';
import { type Credential, CredentialError, sameCredential } from './credential.ts';
import type { CredentialSource } from './credentials.ts';
import { judgeRealm } from './realm.ts';
import { type TokenAnswer, TokenCache } from './token-cache.ts';
import { basicHeader, requestToken } from './token-request.ts';

/** An `Authorization` value to send (`undefined`: none), or why there can be none. */
export type AuthAnswer = { readonly kind: 'header'; readonly value: string | undefined } | UpstreamRefusal;

/** What the authentication of one upstream is made from. */
type AuthOptions = {
  readonly name: string;
  readonly url: URL;
  readonly credentials?: CredentialSource | undefined;
  readonly trustedRealms: readonly string[];
};

/** What is reported of each token request: see `UpstreamClient`. */
export type Observe = (op: string, outcome: string, ms: number) => void;

type Scheme =
  | { kind: 'none' }
  | { kind: 'basic' }
  | { kind: 'bearer'; realm: URL; service: string | undefined };

/**
 * The authentication of one upstream (distribution's token protocol, and Basic). What the first challenge asked
 * for is remembered, so that later requests go out with a token at once. Credentials are looked up only once the
 * realm was judged, and again when they were refused.
 */
export class UpstreamAuth {
  readonly #http: SmallHttp;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #observe: Observe;
  readonly #options: AuthOptions;
  readonly #tokens: TokenCache;
  #scheme: Scheme = { kind: 'none' };

  constructor(deps: { http: SmallHttp; clock: Clock; log: Log; observe: Observe }, options: AuthOptions) {
    this.#http = deps.http;
    this.#clock = deps.clock;
    this.#log = deps.log;
    this.#observe = deps.observe;
    this.#options = options;
    this.#tokens = new TokenCache({ clock: deps.clock }, (url, signal) => this.#requestToken(url, signal));
  }

  /** Whether the upstream has ever asked for credentials in a way that is followed. */
  get wasAsked(): boolean {
    return this.#scheme.kind !== 'none';
  }

  /** The header for a request about a repository, by what is known so far. */
  async header(repository: string, signal: AbortSignal): Promise<AuthAnswer> {
    if (this.#scheme.kind === 'none') return { kind: 'header', value: undefined };
    if (this.#scheme.kind === 'basic') {
      const found = await this.#credential(signal);
      return found.kind === 'found' ? { kind: 'header', value: basicHeader(found.credential) } : found;
    }
    const answer = await this.#tokens.get(tokenUrl(this.#scheme, repository), signal);
    return answer.kind === 'token' ? { kind: 'header', value: `Bearer ${answer.token}` } : answer;
  }

  /**
   * Answers a 401: `challenge` is its `WWW-Authenticate`, `sent` the header that was refused. The result is a
   * header worth one more try, or the refusal to report.
   */
  async answer(
    challenge: string | undefined,
    repository: string,
    sent: string | undefined,
    signal: AbortSignal,
  ): Promise<AuthAnswer> {
    const challenges = parseChallenges(challenge ?? '');
    const bearer = challenges.find(({ scheme, params }) => scheme === 'bearer' && params.has('realm'));
    if (bearer) return this.#answerBearer(bearer, repository, sent, signal);
    if (!challenges.some(({ scheme }) => scheme === 'basic')) return this.#denied(401);
    this.#scheme = { kind: 'basic' };
    return this.renew(sent, 401, signal);
  }

  /**
   * Answers a request with Basic credentials, or none, that was refused with `status` (401, or the 403 of registries
   * whose passwords expire): other credentials, if there are any, or the refusal to report.
   */
  async renew(sent: string | undefined, status: number, signal: AbortSignal): Promise<AuthAnswer> {
    let found = await this.#credential(signal);
    if (found.kind === 'found' && found.credential && basicHeader(found.credential) === sent) {
      this.#options.credentials?.refused(found.credential);
      found = await this.#credential(signal);
    }
    if (found.kind !== 'found') return found;
    const value = basicHeader(found.credential);
    return value === undefined || value === sent ? this.#denied(status) : { kind: 'header', value };
  }

  /** Ends token requests under way. */
  close(): void {
    this.#tokens.close();
  }

  async #answerBearer(
    { params }: Challenge,
    repository: string,
    sent: string | undefined,
    signal: AbortSignal,
  ): Promise<AuthAnswer> {
    const verdict = judgeRealm(params.get('realm') ?? '', this.#options.url, this.#options.trustedRealms);
    if (verdict.kind === 'refused') {
      this.#log.warn({ upstream: this.#options.name, reason: verdict.reason }, 'token realm refused');
      return this.#unavailable(verdict.reason);
    }
    const scheme: Scheme = { kind: 'bearer', realm: verdict.url, service: params.get('service') };
    this.#scheme = scheme;
    if (sent?.startsWith('Bearer ')) this.#tokens.forget(tokenUrl(scheme, repository), sent.slice(7));
    return this.header(repository, signal);
  }

  async #requestToken(url: string, signal: AbortSignal): Promise<TokenAnswer> {
    const started = performance.now();
    let outcome = 'aborted';
    try {
      const answer = await this.#exchangeToken(new URL(url), signal);
      outcome = answer.kind === 'token' ? 'ok' : answer.kind;
      return answer;
    } finally {
      this.#observe('token', outcome, performance.now() - started);
    }
  }

  /** Asks for a token, with other credentials once more when the first were refused and there are others. */
  async #exchangeToken(url: URL, signal: AbortSignal): Promise<TokenAnswer> {
    const ask = (credential: Credential | undefined) => {
      const deps = { http: this.#http, clock: this.#clock };
      return requestToken(deps, this.#options.name, url, credential, signal);
    };
    const first = await this.#credential(signal);
    if (first.kind !== 'found') return first;
    const answer = await ask(first.credential);
    if (answer.kind !== 'denied' || first.credential === undefined) return answer;
    this.#options.credentials?.refused(first.credential);
    const other = await this.#credential(signal);
    if (other.kind !== 'found') return other;
    const again = other.credential !== undefined && !sameCredential(other.credential, first.credential);
    return again ? ask(other.credential) : answer;
  }

  async #credential(
    signal: AbortSignal,
  ): Promise<{ kind: 'found'; credential: Credential | undefined } | UpstreamRefusal> {
    try {
      return { kind: 'found', credential: await this.#options.credentials?.get(signal) };
    } catch (error) {
      if (!(error instanceof CredentialError)) throw error;
      return this.#unavailable(`its credentials cannot be had: ${error.message}`, error);
    }
  }

  #denied(status: number): UpstreamRefusal {
    return { kind: 'denied', upstream: this.#options.name, status };
  }

  #unavailable(message: string, cause?: unknown): UpstreamRefusal {
    const upstream = this.#options.name;
    const error = new UpstreamError(message, { upstream, op: 'token', reason: 'auth', cause });
    return { kind: 'unavailable', upstream, cause: error };
  }
}

/** The token request for pulling from a repository; also the key under which its answer is kept. */
function tokenUrl(scheme: Extract<Scheme, { kind: 'bearer' }>, repository: string): string {
  const url = new URL(scheme.realm);
  if (scheme.service !== undefined) url.searchParams.set('service', scheme.service);
  url.searchParams.set('scope', `repository:${repository}:pull`);
  return url.href;
}
