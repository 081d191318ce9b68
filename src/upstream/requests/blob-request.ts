import type { Observe } from '../auth/auth.ts';
import type { FailureKind } from '../health/health.ts';
import { measurableBytes } from '../health/speed.ts';
import type { BlobTransfer, FetchResult, UpstreamErrorReason, UpstreamResult } from '../result.ts';
import type { WireFailure, WireRequest } from '../wire/messages.ts';
import type { Answer, FollowedRequest, Step } from './followed-request.ts';

/** What to do next about a blob: send this request and report what became of it; or nothing, since this is the result. */
export type BlobStep =
  | { readonly kind: 'send'; readonly request: WireRequest }
  | { readonly kind: 'ended'; readonly result: UpstreamResult<BlobTransfer> };

/**
 * One transfer of a blob's bytes, request by request: whoever has it sends each {@link BlobStep} as it is, follows nothing,
 * and reports what became of it until there is a result. A transfer that broke off is `ok` with `ending: 'broken'`.
 */
export class BlobRequest {
  readonly #followed: FollowedRequest<BlobTransfer>;
  readonly #observe: Observe;
  readonly #wire: (url: URL, headers: Readonly<Record<string, string>>) => WireRequest;
  readonly #started = performance.now();
  #outcome: UpstreamResult<BlobTransfer>['kind'] | 'aborted' = 'aborted';

  constructor(deps: {
    followed: FollowedRequest<BlobTransfer>;
    observe: Observe;
    wire: (url: URL, headers: Readonly<Record<string, string>>) => WireRequest;
  }) {
    this.#followed = deps.followed;
    this.#observe = deps.observe;
    this.#wire = deps.wire;
  }

  /** The first request, with credentials where those are known to be asked for. */
  async first(signal: AbortSignal): Promise<BlobStep> {
    return this.#step(await this.#followed.first(signal));
  }

  /** What follows from what became of the last request. */
  async next(result: FetchResult, signal: AbortSignal): Promise<BlobStep> {
    return this.#step(await this.#followed.next(answerOf(result), signal));
  }

  /** The body of the last request has begun, with these headers. */
  begun(headers: Readonly<Record<string, string>>): void {
    this.#followed.heard(headers);
  }

  /** To be called once, when nothing more is sent: whether there is a result, or it was given up. */
  close(): void {
    this.#observe('get-blob', this.#outcome, performance.now() - this.#started);
  }

  #step(step: Step<BlobTransfer>): BlobStep {
    if (step.kind === 'send') return { kind: 'send', request: this.#wire(step.url, step.headers) };
    this.#outcome = step.result.kind;
    return step;
  }
}

function answerOf(result: FetchResult): Answer<BlobTransfer> {
  if (result.kind === 'failed')
    return { kind: 'failed', reason: reasons[result.reason], message: result.message };
  if (result.kind === 'answer') {
    return { kind: 'other', status: result.status, headers: result.headers, refused: result.refused };
  }
  const { total, received, ending } = result;
  if (ending === 'complete') return { kind: 'final', value: { ending, total, received } };
  const { reason, message } = ending;
  const broken: FailureKind | undefined =
    reason === 'stall' ? 'stall' : received < measurableBytes ? reasons[reason] : undefined;
  return { kind: 'final', value: { ending: 'broken', total, received, reason, message }, broken };
}

const reasons = {
  refused: 'unreachable',
  reset: 'unreachable',
  cut: 'unreachable',
  timeout: 'timeout',
  stall: 'timeout',
  tls: 'tls',
  malformed: 'protocol',
  forbidden: 'egress',
} as const satisfies Record<WireFailure['reason'], UpstreamErrorReason>;
