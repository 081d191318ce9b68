import type { Clock } from '../../lib/clock.ts';
import type { AuthAnswer, UpstreamAuth } from '../auth/auth.ts';
import type { FailureKind, UpstreamHealth } from '../health/health.ts';
import { parseRetryAfter } from '../http/retry-after.ts';
import {
  UpstreamError,
  type UpstreamErrorReason,
  type UpstreamOp,
  type UpstreamRefusal,
  type UpstreamResult,
} from '../result.ts';
import { isRedirect, judgeRedirect } from './redirect.ts';

/** What became of one request that was sent. `headers` have lower-cased names. */
export type Answer<T> =
  /** The answer is what was asked for. */
  | {
      readonly kind: 'final';
      readonly value: T;
      /** The head and its time in milliseconds, where they are known. */
      readonly headers?: Readonly<Record<string, string>>;
      readonly firstByteMs?: number;
      /** How a body that was accepted ended too early; `undefined` when that is nobody's fault. */
      readonly broken?: FailureKind | undefined;
    }
  /** Any other answer: a redirect, a challenge, a refusal. */
  | {
      readonly kind: 'other';
      readonly status: number;
      readonly headers: Readonly<Record<string, string>>;
      readonly firstByteMs?: number;
      /** Why a 200 or 206 was not accepted. */
      readonly refused?: string | undefined;
    }
  /** There was no answer. */
  | {
      readonly kind: 'failed';
      readonly reason: UpstreamErrorReason;
      readonly message: string;
      readonly cause?: unknown;
    };

/** What to do next: send this request and report its answer; or nothing, since this is the result. */
export type Step<T> =
  | { readonly kind: 'send'; readonly url: URL; readonly headers: Readonly<Record<string, string>> }
  | { readonly kind: 'ended'; readonly result: UpstreamResult<T> };

/** What is asked for. `headers` are sent with every request, so they hold no credentials. */
export type Wanted = {
  readonly op: UpstreamOp;
  readonly url: URL;
  /** The repository as the upstream calls it: what a token is asked for. */
  readonly repository: string;
  readonly headers: Readonly<Record<string, string>>;
};

/** How far the requests have come since the first. */
type Route = {
  readonly url: URL;
  /** Whether no redirect has left the upstream's origin. */
  readonly home: boolean;
  /** Whether credentials were asked for once already. */
  readonly challenged: boolean;
  readonly redirects: number;
  /** The `Authorization` sent last. */
  readonly authorization: string | undefined;
};

type Other<T> = Extract<Answer<T>, { kind: 'other' }>;

const maxRedirects = 5;

/**
 * One request, followed through authentication and redirects. It sends nothing: it says what to send, is told the answer,
 * and says what to send next. Credentials go with requests within the upstream's origin only, and not again once a
 * redirect has left it. Where a redirect led elsewhere and was refused there (a signed URL that expired), all begins
 * anew, once. `health` is told how it went, unless it was given up.
 */
export class FollowedRequest<T> {
  readonly #auth: UpstreamAuth;
  readonly #clock: Clock;
  readonly #health: UpstreamHealth;
  readonly #upstream: { readonly name: string; readonly url: URL };
  readonly #wanted: Wanted;
  #route: Route;
  /** Milliseconds that first bytes took, all together. */
  #waited = 0;
  #begunAnew = false;

  constructor(
    deps: { auth: UpstreamAuth; clock: Clock; health: UpstreamHealth },
    options: { upstream: { name: string; url: URL }; wanted: Wanted },
  ) {
    this.#auth = deps.auth;
    this.#clock = deps.clock;
    this.#health = deps.health;
    this.#upstream = options.upstream;
    this.#wanted = options.wanted;
    this.#route = routeTo(options.wanted.url);
  }

  /** What to send first; `signal` ends the wait for a token. */
  async first(signal: AbortSignal): Promise<Step<T>> {
    this.#route = routeTo(this.#wanted.url);
    this.#waited = 0;
    return this.#send(await this.#auth.header(this.#wanted.repository, signal));
  }

  /** What follows from the answer to the last request; `signal` ends the wait for a token. */
  async next(answer: Answer<T>, signal: AbortSignal): Promise<Step<T>> {
    if (answer.kind === 'failed') {
      this.#health.observeFailure(answer.reason);
      return this.#unavailable(answer.reason, answer.message, answer.cause);
    }
    this.#waited += answer.firstByteMs ?? 0;
    if (answer.headers !== undefined) this.heard(answer.headers);
    if (answer.kind === 'final') {
      this.#tellFinal(answer);
      return { kind: 'ended', result: { kind: 'ok', value: answer.value, upstream: this.#upstream.name } };
    }
    if (isRedirect(answer.status)) return this.#redirected(answer.headers['location']);
    const other = await this.#otherCredentials(answer, signal);
    if (other !== undefined) return this.#send(other);
    const { status } = answer;
    const retryAfter = parseRetryAfter(answer.headers['retry-after'], this.#clock.now());
    this.#health.observeAnswer(status, retryAfter);
    if ((status === 401 || status === 403) && !this.#route.home)
      return this.#refusedElsewhere(status, signal);
    return this.#refused(answer, retryAfter);
  }

  /** Takes note of what an answer's headers say about the rate limit. */
  heard(headers: Readonly<Record<string, string>>): void {
    // The limit is the registry's own: a storage host behind it has another.
    if (this.#route.url.origin === this.#upstream.url.origin) this.#health.rateLimit.heard(headers);
  }

  #send(authorization: AuthAnswer): Step<T> {
    if (authorization.kind !== 'header') {
      tellRefusal(this.#health, authorization);
      return { kind: 'ended', result: authorization };
    }
    const { value } = authorization;
    this.#route = { ...this.#route, authorization: value };
    const { url, home } = this.#route;
    const own = this.#wanted.headers;
    return {
      kind: 'send',
      url,
      headers: home && value !== undefined ? { ...own, authorization: value } : own,
    };
  }

  #redirected(location: string | undefined): Step<T> {
    const { url, home, redirects, authorization } = this.#route;
    const verdict = judgeRedirect(location, url, this.#upstream.url);
    if (verdict.kind === 'refused') return this.#unavailable('redirect', verdict.reason);
    if (redirects >= maxRedirects) return this.#unavailable('redirect', 'it redirects too often');
    this.#route = {
      ...this.#route,
      url: verdict.url,
      home: home && verdict.url.origin === this.#upstream.url.origin,
      redirects: redirects + 1,
    };
    return this.#send({ kind: 'header', value: authorization });
  }

  /** Other credentials for a request that was refused for those that it had; `undefined` when there are none to try. */
  async #otherCredentials(
    { status, headers }: Other<T>,
    signal: AbortSignal,
  ): Promise<AuthAnswer | undefined> {
    const { home, challenged, authorization } = this.#route;
    if (!home || challenged) return undefined;
    if (status === 401) {
      this.#route = { ...this.#route, challenged: true };
      return this.#auth.answer(headers['www-authenticate'], this.#wanted.repository, authorization, signal);
    }
    // Passwords of some registries expire, and are answered with 403 from then on.
    if (status !== 403 || !authorization?.startsWith('Basic ')) return undefined;
    this.#route = { ...this.#route, challenged: true };
    const renewed = await this.#auth.renew(authorization, status, signal);
    return renewed.kind === 'denied' ? undefined : renewed;
  }

  /** A host that the registry redirected to has no say about the right to read: only the registry has. */
  #refusedElsewhere(status: number, signal: AbortSignal): Step<T> | Promise<Step<T>> {
    if (!this.#begunAnew) {
      this.#begunAnew = true;
      return this.first(signal);
    }
    const { host } = this.#route.url;
    return this.#unavailable('redirect-denied', `${host}, where it redirects to, answered ${status}`);
  }

  #refused({ status, refused }: Other<T>, retryAfter: number | undefined): Step<T> {
    const upstream = this.#upstream.name;
    if (status === 404) return { kind: 'ended', result: { kind: 'missing', upstream } };
    if (status === 429) return { kind: 'ended', result: { kind: 'limited', upstream, retryAfter } };
    if (status === 401 || status === 403) {
      return { kind: 'ended', result: { kind: 'denied', upstream, status } };
    }
    if (status === 405 || status === 501) return this.#unavailable('method', `it answered ${status}`);
    const reason = refused === undefined ? 'status' : 'protocol';
    return this.#unavailable(reason, refused ?? `it answered ${status}`);
  }

  #unavailable(reason: UpstreamErrorReason, message: string, cause?: unknown): Step<T> {
    const { name: upstream } = this.#upstream;
    const error = new UpstreamError(message, { upstream, op: this.#wanted.op, reason, cause });
    return { kind: 'ended', result: { kind: 'unavailable', upstream, cause: error } };
  }

  #tellFinal(answer: Extract<Answer<T>, { kind: 'final' }>): void {
    if (answer.firstByteMs !== undefined) this.#health.observeFirstByte(this.#waited);
    if (!('broken' in answer)) this.#health.observeSuccess();
    else if (answer.broken !== undefined) this.#health.observeFailure(answer.broken);
  }
}

function routeTo(url: URL): Route {
  return { url, home: true, challenged: false, redirects: 0, authorization: undefined };
}

/**
 * A token endpoint that cannot be reached, or limits, keeps the upstream from being used as well as its own failure.
 * Credentials that cannot be had say nothing about it.
 */
function tellRefusal(health: UpstreamHealth, refusal: UpstreamRefusal): void {
  if (refusal.kind === 'limited') health.observeAnswer(429, refusal.retryAfter);
  else if (refusal.kind === 'unavailable' && refusal.cause.reason !== 'auth') {
    health.observeFailure(refusal.cause.reason);
  }
}
