import type { Clock } from '../lib/clock.ts';
import type { Log } from '../lib/log.ts';
import { type Challenge, parseChallenges } from '../oci/challenge.ts';
import { judgeRealm } from './realm.ts';
import { redactUrl } from './redact.ts';
import { UpstreamError, type UpstreamErrorReason, type UpstreamRefusal } from './result.ts';
import { parseRetryAfter } from './retry-after.ts';
import { type SmallAnswer, type SmallHttp, SmallHttpError } from './small-http.ts';
import { type TokenAnswer, TokenCache } from './token-cache.ts';

/** An `Authorization` value to send (`undefined`: none), or why there can be none. */
export type AuthAnswer = { readonly kind: 'header'; readonly value: string | undefined } | UpstreamRefusal;

/** What the authentication of one upstream is made from. */
export type AuthOptions = {
  readonly name: string;
  readonly url: URL;
  readonly username?: string;
  readonly password?: string;
  readonly trustedRealms: readonly string[];
};

/** What is reported of each token request: see `UpstreamClient`. */
export type Observe = (op: string, outcome: string, ms: number) => void;

type Scheme =
  | { kind: 'none' }
  | { kind: 'basic' }
  | { kind: 'bearer'; realm: URL; service: string | undefined };

const maxTokenAnswer = 256 * 1024;
const tokenPattern = /^[\x21-\x7e]{1,16384}$/;

/** The lifetime of a token that does not name one, in seconds (distribution's token specification). */
const defaultLifetime = 60;

/**
 * The authentication of one upstream (distribution's token protocol, and Basic). What the first challenge asked
 * for is remembered, so that later requests go out with a token at once.
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

  /** The header for a request about a repository, by what is known so far. */
  async header(repository: string, signal: AbortSignal): Promise<AuthAnswer> {
    if (this.#scheme.kind === 'none') return { kind: 'header', value: undefined };
    if (this.#scheme.kind === 'basic') return { kind: 'header', value: this.#basic() };
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
    const basic = this.#basic();
    const wanted = challenges.some(({ scheme }) => scheme === 'basic');
    if (!wanted || basic === undefined || basic === sent) return this.#denied(401);
    this.#scheme = { kind: 'basic' };
    return { kind: 'header', value: basic };
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
      return this.#unavailable('auth', verdict.reason);
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

  async #exchangeToken(url: URL, signal: AbortSignal): Promise<TokenAnswer> {
    // The realm was judged before it became part of the URL: only here are the credentials looked up.
    const basic = this.#basic();
    const headers = { accept: 'application/json', ...(basic !== undefined && { authorization: basic }) };
    let answer: SmallAnswer;
    try {
      answer = await this.#http.send({ method: 'GET', url, headers, maxBytes: maxTokenAnswer }, signal);
    } catch (error) {
      if (!(error instanceof SmallHttpError)) throw error;
      return this.#unavailable(
        error.reason,
        `its token endpoint ${redactUrl(url)} failed: ${error.message}`,
        error,
      );
    }
    const { status } = answer;
    if (status === 401 || status === 403) return this.#denied(status);
    if (status === 429) {
      const retryAfter = parseRetryAfter(answer.headers['retry-after'], this.#clock.now());
      return { kind: 'limited', upstream: this.#options.name, retryAfter };
    }
    if (status !== 200) {
      return this.#unavailable('status', `its token endpoint ${redactUrl(url)} answered ${status}`);
    }
    return (
      readToken(answer.body) ??
      this.#unavailable('content', `its token endpoint ${redactUrl(url)} sent no token`)
    );
  }

  #basic(): string | undefined {
    const { username, password } = this.#options;
    if (username === undefined || password === undefined) return undefined;
    return `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`;
  }

  #denied(status: number): UpstreamRefusal {
    return { kind: 'denied', upstream: this.#options.name, status };
  }

  #unavailable(reason: UpstreamErrorReason, message: string, cause?: unknown): UpstreamRefusal {
    const upstream = this.#options.name;
    const error = new UpstreamError(message, { upstream, op: 'token', reason, cause });
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

function readToken(body: Buffer): TokenAnswer | undefined {
  let parsed: unknown;
  try {
    parsed = JSON.parse(body.toString('utf8'));
  } catch {
    return undefined;
  }
  if (typeof parsed !== 'object' || parsed === null) return undefined;
  const { token, access_token, expires_in } = parsed as Readonly<Record<string, unknown>>;
  const text = typeof token === 'string' && token !== '' ? token : access_token;
  if (typeof text !== 'string' || !tokenPattern.test(text)) return undefined;
  const named = typeof expires_in === 'number' && expires_in > 0 && Number.isFinite(expires_in);
  return { kind: 'token', token: text, lifetime: named ? expires_in : defaultLifetime };
}
