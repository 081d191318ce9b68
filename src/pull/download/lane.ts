import type { Digest } from '../../oci/digest.ts';
import type { UpstreamClient } from '../../upstream/client.ts';
import { type BlobTransfer, UpstreamError, type UpstreamResult } from '../../upstream/result.ts';
import type { Refusal } from '../asking/outcomes.ts';
import type { FillProgress } from '../threads/fill-progress.ts';
import type { FillSlot } from '../threads/fill-workers.ts';

/** How a lane ended: the position that it reached, and what kept it from reaching its stop, if anything did. */
export type LaneEnd = {
  readonly position: number;
  readonly refusal: Refusal | undefined;
  /** Whether its answer ended in order. The blob ends there, where nobody has said how large it is. */
  readonly complete: boolean;
};

/** What a lane is to fetch. */
export type LaneOrder = {
  readonly slot: number;
  readonly upstream: UpstreamClient;
  readonly repository: string;
  readonly digest: Digest;
  readonly start: number;
  /** `undefined`: to the end of the blob. */
  readonly end: number | undefined;
  readonly maySkip: boolean;
  /** What is expected of the upstream until there is something to measure, in bytes a second. */
  readonly expectedRate: number;
  readonly budgets: readonly SharedArrayBuffer[];
  /** Whether a bandwidth limit holds it back, so that its speed says nothing about the upstream. */
  readonly throttled: boolean;
};

/** Milliseconds over which a lane's rate is measured anew. */
const measuring = 250;

/** One connection of a fill, from its request to its end. */
export class LaneRun {
  readonly order: LaneOrder;
  readonly startedAt: number;
  readonly ended: Promise<LaneEnd>;
  readonly #progress: FillProgress;
  readonly #now: () => number;
  readonly #abort = new AbortController();
  #begunAt: number | undefined;
  #rate: number;
  #slowSince: number | undefined;
  #measured: { at: number; position: number };

  /**
   * @param deps.now milliseconds, monotonic
   * @param begun called when the body begins, with the blob's size where that is declared
   */
  constructor(
    deps: { slot: FillSlot; progress: FillProgress; now: () => number },
    order: LaneOrder,
    begun: (lane: LaneRun, total: number | undefined) => void,
    signal: AbortSignal,
  ) {
    this.order = order;
    this.#progress = deps.progress;
    this.#now = deps.now;
    this.startedAt = deps.now();
    this.#rate = order.expectedRate;
    this.#measured = { at: this.startedAt, position: order.start };
    this.ended = this.#run(deps.slot, begun, signal);
  }

  /** When its body began, on the clock of `deps.now`. */
  get begunAt(): number | undefined {
    return this.#begunAt;
  }

  get position(): number {
    return this.#progress.position(this.order.slot);
  }

  get stop(): number {
    return this.#progress.stop(this.order.slot);
  }

  /** Bytes a second, lately. */
  get rate(): number {
    return this.#rate;
  }

  /** Milliseconds for which it has been slower than `floor` bytes a second. */
  slowFor(now: number): number {
    return this.#slowSince === undefined ? 0 : now - this.#slowSince;
  }

  /** Measures, if it is time to: whether it did. @param floor bytes a second below which it is slow */
  measure(now: number, floor: number): boolean {
    const elapsed = now - this.#measured.at;
    if (this.#begunAt === undefined || elapsed < measuring) return false;
    const { position } = this;
    const rate = ((position - this.#measured.position) * 1000) / elapsed;
    this.#rate = (this.#rate + 2 * rate) / 3;
    this.#measured = { at: now, position };
    if (rate >= floor) this.#slowSince = undefined;
    else this.#slowSince ??= now - elapsed;
    return true;
  }

  /** Whether it was told to end. */
  get cancelled(): boolean {
    return this.#abort.signal.aborted;
  }

  /** Ends it where it is. */
  cancel(): void {
    this.#abort.abort(new Error('another connection does this'));
  }

  async #run(
    slot: FillSlot,
    begun: (lane: LaneRun, total: number | undefined) => void,
    signal: AbortSignal,
  ): Promise<LaneEnd> {
    const { upstream, start, end, throttled } = this.order;
    const pass = upstream.health.admit();
    const transfer = upstream.health.began((end ?? this.stop) - start);
    const own = AbortSignal.any([signal, this.#abort.signal]);
    const onBegun = (total: number | undefined) => {
      this.#begunAt = this.#now();
      this.#measured = { at: this.#begunAt, position: start };
      transfer.firstByte();
      begun(this, total);
    };
    try {
      const result = await this.#transfer(slot, onBegun, own);
      const { position } = this;
      if (result.kind !== 'ok') return { position, refusal: result, complete: false };
      if (result.value.ending === 'complete') return { position, refusal: undefined, complete: true };
      return { position, refusal: this.#broken(result.value.message), complete: false };
    } catch (error) {
      if (signal.aborted || !this.#abort.signal.aborted) throw error;
      return { position: this.position, refusal: undefined, complete: false };
    } finally {
      pass.release();
      if (!throttled) transfer.ended(this.position - start);
    }
  }

  /** Sends what the upstream's client says, in the fill's worker, until there is a result. */
  async #transfer(
    slot: FillSlot,
    onBegun: (total: number | undefined) => void,
    signal: AbortSignal,
  ): Promise<UpstreamResult<BlobTransfer>> {
    const { upstream, repository, digest, start, end, maySkip, budgets } = this.order;
    const blob = upstream.getBlob(repository, digest, { start, end });
    try {
      let step = await blob.first(signal);
      while (step.kind === 'send') {
        const { request } = step;
        const result = await slot.fetch(
          { slot: this.order.slot, request, start, maySkip, budgets },
          (total, headers) => {
            blob.begun(headers);
            onBegun(total);
          },
          signal,
        );
        step = await blob.next(result, signal);
      }
      return step.result;
    } finally {
      blob.close();
    }
  }

  #broken(message: string): Refusal {
    const { name } = this.order.upstream;
    return {
      kind: 'unavailable',
      upstream: name,
      cause: new UpstreamError(message, { upstream: name, op: 'get-blob' }),
    };
  }
}
