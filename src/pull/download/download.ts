import type { Log } from '../../lib/log.ts';
import { IntegrityError } from '../../oci/errors.ts';
import type { UpstreamClient } from '../../upstream/client.ts';
import { UpstreamError } from '../../upstream/result.ts';
import { rangeless } from '../../upstream/wire/accept-body.ts';
import type { HedgeBudget } from '../asking/hedge-budget.ts';
import type { Refusal } from '../asking/outcomes.ts';
import type { Fill } from '../fill/fill.ts';
import { imageName, type ResolvedRepository } from '../repository.ts';
import type { FillSlot } from '../threads/fill-workers.ts';
import type { Choice, Choices } from './choices.ts';
import { Growth } from './growth.ts';
import { type LaneEnd, LaneRun } from './lane.ts';
import { LanePlan, type Opening } from './lane-plan.ts';
import { Lanes } from './lanes.ts';
import { type DownloadPatience, progressFloor, Rounds } from './rounds.ts';
import { SlowLanes } from './slow-lanes.ts';

/** Milliseconds between two looks at the lanes. */
const tick = 25;

type DownloadDeps = {
  readonly log: Log;
  readonly fill: Fill;
  readonly slot: FillSlot;
  readonly choices: Choices;
  readonly hedges: HedgeBudget;
  /** The memories of the bandwidth limits that a connection to an upstream keeps. */
  readonly bandwidths: (upstream: UpstreamClient) => readonly SharedArrayBuffer[];
  /** Milliseconds, monotonic. */
  readonly now: () => number;
};

/** Why there is nothing more to fetch: the blob ended where nobody had said, or the disk or the worker failed. */
type End = { readonly kind: 'whole' } | { readonly kind: 'broken'; readonly error: unknown };

/**
 * Downloads one blob: by one connection at first, by more as long as they make it faster, from whichever upstream is
 * expected to be the quickest. What breaks off is continued at the missing byte by whoever is best then.
 */
export class Download {
  readonly #deps: DownloadDeps;
  readonly #target: ResolvedRepository;
  readonly #lanes = new Lanes();
  readonly #growth = new Growth();
  readonly #plan: LanePlan;
  readonly #slow: SlowLanes;
  readonly #rounds: Rounds;
  #woken = Promise.withResolvers<void>();
  #end: End | undefined;

  /** @param options.target from where the blob is fetched */
  constructor(deps: DownloadDeps, options: { target: ResolvedRepository; patience: DownloadPatience }) {
    const { fill, choices, hedges, log } = deps;
    const { target, patience } = options;
    const { digest, sizeGiven: named, arrival } = fill;
    this.#deps = deps;
    this.#target = target;
    const growth = this.#growth;
    this.#plan = new LanePlan({ arrival, lanes: this.#lanes, choices, growth, hedges });
    this.#slow = new SlowLanes({ lanes: this.#lanes, choices, log }, { digest });
    const what = `blob ${digest} of ${imageName(target)}`;
    this.#rounds = new Rounds({ choices }, { patience, what, named, arrived: arrival.arrived().size });
  }

  /**
   * Brings the missing bytes and verifies them all.
   * @throws OciError when no upstream has it, lets us, or can be reached; IntegrityError when the bytes are wrong;
   *   FillStorageError and FillWorkerError when the disk or the worker fails
   */
  async run(signal: AbortSignal): Promise<void> {
    const { fill, slot } = this.#deps;
    const ending = new AbortController();
    const wake = () => this.#woken.resolve();
    signal.addEventListener('abort', wake);
    try {
      await this.#fetch(AbortSignal.any([signal, ending.signal]));
    } finally {
      signal.removeEventListener('abort', wake);
      ending.abort();
      await Promise.allSettled(this.#lanes.all.map((run) => run.ended));
    }
    fill.note({ kind: 'whole' });
    const found = await slot.verify();
    if (found !== undefined) throw new IntegrityError(fill.digest, found);
    fill.note({ kind: 'right' });
  }

  async #fetch(signal: AbortSignal): Promise<void> {
    const { fill, now } = this.#deps;
    for (;;) {
      const bytes = fill.arrival.arrived().size;
      if (this.#end?.kind === 'whole' || bytes >= (fill.arrival.size ?? Infinity)) return;
      signal.throwIfAborted();
      if (this.#end?.kind === 'broken') throw this.#end.error;
      const look = { at: now(), wanted: fill.wanted, helpers: fill.upstreams };
      this.#slow.look(look.at);
      this.#measure(bytes, look.at);
      // One at a time: each changes what is best for the next.
      for (let next = this.#plan.next(look); next !== undefined; next = this.#plan.next(look)) {
        this.#open(next, signal);
      }
      if (this.#lanes.size > 0) await this.#nextEvent();
      else await this.#rounds.next(bytes, signal);
    }
  }

  /** Tells growth how the whole comes along. */
  #measure(bytes: number, now: number): void {
    const { size } = this.#deps.fill.arrival;
    if (size === undefined) return;
    const runs = this.#lanes.all;
    const busy = runs.length >= this.#growth.allowed && runs.every(({ begunAt }) => begunAt !== undefined);
    const utilization = this.#deps.slot.utilization();
    this.#growth.observe({ bytes, left: size - bytes, busy, utilization, now });
  }

  #open({ choice, start, end, cut }: Opening, signal: AbortSignal): void {
    const { fill, slot: fillSlot, bandwidths, now, hedges } = this.#deps;
    const { arrival, digest } = fill;
    const { size, progress } = arrival;
    const { upstream } = choice;
    if (cut !== undefined) progress.cut(cut.slot, cut.at);
    const slot = this.#lanes.freeSlot();
    arrival.begin(slot, start, end ?? size ?? Number.MAX_SAFE_INTEGER);
    hedges.sent();
    const run = new LaneRun(
      { slot: fillSlot, progress, now },
      {
        slot,
        upstream,
        repository: this.#target.repository,
        digest,
        start,
        end: end === size ? undefined : end,
        maySkip: this.#lanes.size === 0,
        expectedRate: this.#lanes.rateOf(upstream) ?? choice.rate,
        budgets: bandwidths(upstream),
        throttled: this.#target.budget?.throttled === true,
      },
      (lane, total) => this.#begun(lane, total),
      signal,
    );
    this.#lanes.add(run);
    run.ended.then(
      (laneEnd) => this.#ended(run, choice, laneEnd),
      (error: unknown) => {
        this.#close(run, choice);
        this.#end ??= { kind: 'broken', error };
      },
    );
  }

  #begun(lane: LaneRun, total: number | undefined): void {
    const { fill, now } = this.#deps;
    fill.upstreams.add(lane.order.upstream.name);
    fill.firstByteMs ??= Math.round((now() - lane.startedAt) * 10) / 10;
    if (total !== undefined) {
      fill.announceSize(total);
      if (lane.stop > total) fill.arrival.progress.cut(lane.order.slot, total);
    }
    // The first to answer has won: whoever was asked for the same bytes is not needed any more.
    for (const run of this.#lanes.all) {
      if (run !== lane && run.order.start === lane.order.start && run.begunAt === undefined) run.cancel();
    }
    this.#woken.resolve();
  }

  #ended(run: LaneRun, choice: Choice, { position, refusal, complete }: LaneEnd): void {
    const { name } = choice.upstream;
    const { fill, choices } = this.#deps;
    this.#close(run, choice);
    if (complete && fill.arrival.size === undefined) this.#end ??= { kind: 'whole' };
    const short = complete && position < Math.min(run.stop, fill.arrival.size ?? run.stop);
    if (refusal === undefined && !short) return;
    if (refusal?.kind === 'unavailable' && refusal.cause.message === rangeless) {
      choices.noteRangeless(name);
      this.#giveBack(run);
      return;
    }
    this.#logInterruption(name, position, refusal);
    // Whoever brought something before it broke off may go on at once; one that is gone says so then.
    if (position - run.order.start >= progressFloor && refusal?.kind !== 'limited') return;
    const early = new UpstreamError('its answer ends too early', { upstream: name, op: 'get-blob' });
    choices.leaveAlone(refusal ?? { kind: 'unavailable', upstream: name, cause: early });
  }

  #logInterruption(upstream: string, at: number, refusal: Refusal | undefined): void {
    const { log, fill } = this.#deps;
    const cause = refusal?.kind === 'unavailable' ? { cause: refusal.cause.message } : {};
    const result = refusal?.kind ?? 'short';
    const image = imageName(this.#target);
    log.warn({ image, digest: fill.digest, upstream, at, result, ...cause }, 'blob download interrupted');
  }

  /** Lets the lane that was cut short for `run` have its bytes back. */
  #giveBack({ order: { start }, stop }: LaneRun): void {
    for (const run of this.#lanes.all) {
      if (run.stop === start) this.#deps.fill.arrival.progress.cut(run.order.slot, stop);
    }
  }

  #close(run: LaneRun, { upstream: { name }, reason }: Choice): void {
    const { fill } = this.#deps;
    const { slot, start } = run.order;
    if (run.position > start || fill.arrival.size === 0) {
      fill.deliveries.push({ upstream: name, start, end: run.position, because: reason });
    }
    this.#lanes.remove(run);
    fill.arrival.settle(slot);
    this.#woken.resolve();
  }

  /** Waits until a lane begins or ends, the download is aborted, or it is time for another look. */
  async #nextEvent(): Promise<void> {
    const timer = setTimeout(() => this.#woken.resolve(), tick);
    try {
      await this.#woken.promise;
    } finally {
      clearTimeout(timer);
      this.#woken = Promise.withResolvers();
    }
  }
}
