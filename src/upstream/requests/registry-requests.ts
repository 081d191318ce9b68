import type { Clock } from '../../lib/clock.ts';
import type { Observe, UpstreamAuth } from '../auth/auth.ts';
import type { UpstreamHealth } from '../health/health.ts';
import { parseRetryAfter } from '../http/retry-after.ts';
import type { SmallAnswer, SmallHttp } from '../http/small-http.ts';
import type { BlobTransfer, UpstreamOp, UpstreamRefusal, UpstreamResult } from '../result.ts';
import { UpstreamError, type UpstreamErrorReason } from '../result.ts';
import type { WireRequest } from '../wire/messages.ts';
import { BlobRequest } from './blob-request.ts';
import { FollowedRequest, type Wanted } from './followed-request.ts';
import { nextPage } from './next-page.ts';
import { sendSmall } from './send-small.ts';

/** A request for something small: `path` below the repository, or a whole URL within the upstream's origin. */
export type SmallPlan = {
  readonly method: 'GET' | 'HEAD';
  readonly path: string | URL;
  readonly accept: string;
  readonly maxBytes: number;
};

/** What was read from a body: a value; or why there is none, as a clause for an error message. */
export type Reading<T> =
  | { readonly kind: 'value'; readonly value: T }
  | { readonly kind: 'refused'; readonly reason: string };

/** Builds one request as the wire sends it. */
export type WireRequests = (url: URL, headers: Readonly<Record<string, string>>) => WireRequest;

/**
 * What came of a probe: it answered as a registry does, it answered something else, it did not answer or with a 5xx,
 * or it was not asked.
 */
export type ProbeOutcome = 'alive' | 'unclear' | 'down' | 'left-alone';

/** The longest answer to `GET /v2/` that is read, in bytes. */
const maxVersionAnswer = 64 * 1024;

/** Pages of a listing that are followed at most. */
const maxPages = 100;

/** Sends one upstream's requests for small things, and makes those for blobs. */
export class RegistryRequests {
  readonly #http: SmallHttp;
  readonly #auth: UpstreamAuth;
  readonly #clock: Clock;
  readonly #health: UpstreamHealth;
  readonly #observe: Observe;
  readonly #upstream: { readonly name: string; readonly url: URL };
  readonly #base: string;

  /** `base` is put before every repository: empty, or path components with a slash behind. */
  constructor(
    deps: { http: SmallHttp; auth: UpstreamAuth; clock: Clock; health: UpstreamHealth; observe: Observe },
    options: { name: string; url: URL; base: string },
  ) {
    this.#http = deps.http;
    this.#auth = deps.auth;
    this.#clock = deps.clock;
    this.#health = deps.health;
    this.#observe = deps.observe;
    this.#upstream = { name: options.name, url: options.url };
    this.#base = options.base;
  }

  /** The URL of something below a repository. */
  endpoint(repository: string, path: string): URL {
    return new URL(`/v2/${this.#base}${repository}/${path}`, this.#upstream.url.href);
  }

  /** Asks whether the upstream is there: see `UpstreamClient.probe`. */
  async probe(signal: AbortSignal): Promise<ProbeOutcome> {
    const health = this.#health;
    const pass = health.admit();
    if (pass.kind === 'no') return 'left-alone';
    const started = performance.now();
    let outcome: ProbeOutcome | 'aborted' = 'aborted';
    try {
      outcome = await this.#askForVersion(signal);
      return outcome;
    } finally {
      pass.release();
      this.#observe('probe', outcome, performance.now() - started);
    }
  }

  /** Fetches something small and reads it; `read` sees 2xx answers only. */
  async small<T>(
    op: UpstreamOp,
    repository: string,
    plan: SmallPlan,
    read: (answer: SmallAnswer) => Reading<T>,
    signal: AbortSignal,
  ): Promise<UpstreamResult<T>> {
    return this.#observed(op, async () => {
      const result = await this.#answer(op, repository, plan, signal);
      if (result.kind !== 'ok') return result;
      const reading = read(result.value);
      if (reading.kind === 'refused') return this.#unavailable(op, 'content', reading.reason);
      return { ...result, value: reading.value };
    });
  }

  /**
   * Fetches a listing page by page, within the upstream's origin; `read` says whether it wants more. The value is
   * the last page's URL, without meaning.
   */
  async pages(
    op: UpstreamOp,
    repository: string,
    plan: Omit<SmallPlan, 'method'> & { readonly path: URL },
    read: (page: SmallAnswer) => Reading<'more' | 'enough'>,
    signal: AbortSignal,
  ): Promise<UpstreamResult<URL>> {
    return this.#observed(op, async () => {
      let path = plan.path;
      for (let page = 0; ; page++) {
        const result = await this.#answer(op, repository, { ...plan, path, method: 'GET' }, signal);
        if (result.kind !== 'ok') return result;
        const reading = read(result.value);
        if (reading.kind === 'refused') return this.#unavailable(op, 'content', reading.reason);
        const next = reading.value === 'more' ? nextPage(result.value.headers['link'], path) : undefined;
        if (!next) return { ...result, value: path };
        if (page + 1 >= maxPages) return this.#unavailable(op, 'content', 'its listing has too many pages');
        path = next;
      }
    });
  }

  /** A request for a blob's bytes; `wire` completes each request that is to be sent for it. */
  blob(
    repository: string,
    { path, headers }: { path: string; headers: Readonly<Record<string, string>> },
    wire: WireRequests,
  ): BlobRequest {
    const url = this.endpoint(repository, path);
    const followed = this.#followed<BlobTransfer>('get-blob', repository, { url, headers });
    return new BlobRequest({ followed, observe: this.#observe, wire });
  }

  async #askForVersion(signal: AbortSignal): Promise<ProbeOutcome> {
    const health = this.#health;
    const url = new URL('/v2/', this.#upstream.url.href);
    const sent = await sendSmall(
      this.#http,
      { method: 'GET', url, headers: { accept: '*/*' }, maxBytes: maxVersionAnswer },
      signal,
    );
    if (sent.kind === 'failed') {
      health.observeFailure(sent.reason);
      return sent.reason === 'content' ? 'unclear' : 'down';
    }
    const status = sent.kind === 'final' ? 200 : sent.status;
    const { headers = {}, firstByteMs } = sent;
    health.rateLimit.heard(headers);
    const alive = status === 200 || status === 401;
    if (alive && firstByteMs !== undefined) health.observeFirstByte(firstByteMs);
    health.observeAnswer(status, parseRetryAfter(headers['retry-after'], this.#clock.now()));
    if (alive) return 'alive';
    return status >= 500 ? 'down' : 'unclear';
  }

  async #answer(
    op: UpstreamOp,
    repository: string,
    plan: SmallPlan,
    signal: AbortSignal,
  ): Promise<UpstreamResult<SmallAnswer>> {
    const { method, accept, maxBytes } = plan;
    const first = typeof plan.path === 'string' ? this.endpoint(repository, plan.path) : plan.path;
    const request = this.#followed<SmallAnswer>(op, repository, { url: first, headers: { accept } });
    let step = await request.first(signal);
    while (step.kind === 'send') {
      const { url, headers } = step;
      const answer = await sendSmall(this.#http, { method, url, headers, maxBytes }, signal);
      step = await request.next(answer, signal);
    }
    return step.result;
  }

  #followed<T>(
    op: UpstreamOp,
    repository: string,
    { url, headers }: Pick<Wanted, 'url' | 'headers'>,
  ): FollowedRequest<T> {
    const wanted = { op, url, repository: this.#base + repository, headers };
    const deps = { auth: this.#auth, clock: this.#clock, health: this.#health };
    return new FollowedRequest<T>(deps, { upstream: this.#upstream, wanted });
  }

  async #observed<T>(op: UpstreamOp, work: () => Promise<UpstreamResult<T>>): Promise<UpstreamResult<T>> {
    const started = performance.now();
    let outcome = 'aborted';
    try {
      const result = await work();
      outcome = result.kind;
      return result;
    } finally {
      this.#observe(op, outcome, performance.now() - started);
    }
  }

  #unavailable(op: UpstreamOp, reason: UpstreamErrorReason, message: string): UpstreamRefusal {
    const upstream = this.#upstream.name;
    return { kind: 'unavailable', upstream, cause: new UpstreamError(message, { upstream, op, reason }) };
  }
}
