import type { Clock } from '../../lib/clock.ts';
import type { UpstreamAuth } from '../auth/auth.ts';
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

/** An answer that the walk has to deal with, or the value that ends it. */
export type Sent<T> =
  | {
      readonly kind: 'final';
      readonly value: T;
      /** The head and its time in milliseconds, where they are known. */
      readonly headers?: Readonly<Record<string, string>>;
      readonly firstByteMs?: number;
      /** How a body that was accepted ended too early; `undefined` when that is nothing to blame anyone for. */
      readonly broken?: FailureKind | undefined;
    }
  | {
      readonly kind: 'answer';
      readonly status: number;
      readonly headers: Readonly<Record<string, string>>;
      readonly firstByteMs?: number;
      readonly refused?: string | undefined;
    }
  | {
      readonly kind: 'failed';
      readonly reason: UpstreamErrorReason;
      readonly message: string;
      readonly cause?: unknown;
    };

/** What one walk is about. `headers` are sent on every hop, so they hold no credentials. */
export type WalkPlan<T> = {
  readonly op: UpstreamOp;
  readonly url: URL;
  /** The repository as the upstream calls it: what a token is asked for. */
  readonly repository: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly send: (
    url: URL,
    headers: Readonly<Record<string, string>>,
    signal: AbortSignal,
  ) => Promise<Sent<T>>;
};

const maxRedirects = 5;

/**
 * Takes a request through authentication and redirects, each hop with a header set of its own: the upstream's
 * credentials leave with requests within its origin only, and not again once a redirect has left it. Where a
 * redirect led elsewhere and was refused there (a signed URL that expired), the walk starts over once. How it went
 * is told to `health`; a request that was aborted is not.
 */
export async function walk<T>(
  deps: { auth: UpstreamAuth; clock: Clock; health: UpstreamHealth },
  upstream: { name: string; url: URL },
  plan: WalkPlan<T>,
  signal: AbortSignal,
): Promise<UpstreamResult<T>> {
  const first = await walkOnce(deps, upstream, plan, signal);
  const expired = first.kind === 'unavailable' && first.cause.reason === 'redirect-denied';
  return expired ? walkOnce(deps, upstream, plan, signal) : first;
}

async function walkOnce<T>(
  { auth, clock, health }: { auth: UpstreamAuth; clock: Clock; health: UpstreamHealth },
  upstream: { name: string; url: URL },
  plan: WalkPlan<T>,
  signal: AbortSignal,
): Promise<UpstreamResult<T>> {
  const { name } = upstream;
  const unavailable = (reason: UpstreamErrorReason, message: string, cause?: unknown): UpstreamRefusal => {
    return {
      kind: 'unavailable',
      upstream: name,
      cause: new UpstreamError(message, { upstream: name, op: plan.op, reason, cause }),
    };
  };
  let url = plan.url;
  let home = true;
  let challenged = false;
  let waited = 0;
  let authorization = await auth.header(plan.repository, signal);
  for (let redirects = 0; ; ) {
    if (authorization.kind !== 'header') {
      tellRefusal(health, authorization);
      return authorization;
    }
    const { value } = authorization;
    const headers = home && value !== undefined ? { ...plan.headers, authorization: value } : plan.headers;
    const sent = await plan.send(url, headers, signal);
    if (sent.kind === 'failed') {
      health.observeFailure(sent.reason);
      return unavailable(sent.reason, sent.message, sent.cause);
    }
    waited += sent.firstByteMs ?? 0;
    // The budget is the registry's own: a storage host behind it has another.
    if (home && sent.headers !== undefined) health.rateLimit.heard(sent.headers);
    if (sent.kind === 'final') {
      tellFinal(health, sent, waited);
      return { kind: 'ok', value: sent.value, upstream: name };
    }
    const { status } = sent;
    if (isRedirect(status)) {
      const verdict = judgeRedirect(sent.headers['location'], url, upstream.url);
      if (verdict.kind === 'refused') return unavailable('redirect', verdict.reason);
      if (++redirects > maxRedirects) return unavailable('redirect', 'it redirects too often');
      home &&= verdict.url.origin === upstream.url.origin;
      url = verdict.url;
      continue;
    }
    if (status === 401 && home && !challenged) {
      challenged = true;
      authorization = await auth.answer(sent.headers['www-authenticate'], plan.repository, value, signal);
      continue;
    }
    // Passwords of some registries expire, and are answered with 403 from then on.
    if (status === 403 && home && !challenged && value?.startsWith('Basic ')) {
      challenged = true;
      const renewed = await auth.renew(value, status, signal);
      if (renewed.kind !== 'denied') {
        authorization = renewed;
        continue;
      }
    }
    const retryAfter = parseRetryAfter(sent.headers['retry-after'], clock.now());
    health.observeAnswer(status, retryAfter);
    if (status === 404) return { kind: 'missing', upstream: name };
    if (status === 429) return { kind: 'limited', upstream: name, retryAfter };
    if (status === 401 || status === 403) {
      // A host that the registry redirected to has no say about the right to read: only the registry has.
      if (!home)
        return unavailable('redirect-denied', `${url.host}, where it redirects to, answered ${status}`);
      return { kind: 'denied', upstream: name, status };
    }
    if (status === 405 || status === 501) return unavailable('method', `it answered ${status}`);
    return unavailable(
      sent.refused === undefined ? 'status' : 'protocol',
      sent.refused ?? `it answered ${status}`,
    );
  }
}

function tellFinal(health: UpstreamHealth, sent: Sent<unknown> & { kind: 'final' }, waited: number): void {
  if (sent.firstByteMs !== undefined) health.observeFirstByte(waited);
  if (!('broken' in sent)) health.observeSuccess();
  else if (sent.broken !== undefined) health.observeFailure(sent.broken);
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
