import { delay } from '../../lib/abort.ts';
import type { Log } from '../../lib/log.ts';
import type { Digest } from '../../oci/digest.ts';
import { IntegrityError } from '../../oci/errors.ts';
import type { UpstreamClient } from '../../upstream/client.ts';
import { UpstreamError } from '../../upstream/result.ts';
import { rangeless } from '../../upstream/wire/accept-body.ts';
import type { HedgeBudget } from '../asking/hedge-budget.ts';
import { type Refusal, verdictError, weigh } from '../asking/outcomes.ts';
import type { Fill } from '../fill/fill.ts';
import { imageName, type ResolvedRepository } from '../repository.ts';
import { laneSlots } from '../threads/fill-progress.ts';
import type { FillSlot } from '../threads/fill-workers.ts';
import { Growth } from './growth.ts';
import { type LaneEnd, LaneRun } from './lane.ts';
import { Lanes, plannedLane } from './lanes.ts';
import { nextStretch, type Stretch, secondsLeft } from './range-plan.ts';
import { pauseBeforeSecondLook } from './second-look.ts';
import type { Choice, Sources } from './sources.ts';

/** How patient a download is with its upstreams. */
export type DownloadPatience = {
  /** How many times all upstreams are asked in turn without a byte of progress before the clients are told. */
  readonly rounds: number;
  /** Milliseconds before the second round; doubles with each further one. Also before the second look. */
  readonly pause: number;
};

/** A round that brought fewer bytes than this counts as no progress, so that a trickle of cuts comes to an end. */
const progressFloor = 64 * 1024;

/** Milliseconds between two looks at the lanes. */
const tick = 25;

/** Milliseconds below an upstream's `minSpeed` after which a lane is given up. */
const slowest = 5_000;

/** A lane is given up for one that is expected to be this many times quicker with what is left. */
const muchQuicker = 4;

type Job = {
  readonly target: ResolvedRepository;
  readonly digest: Digest;
  readonly fill: Fill;
  readonly slot: FillSlot;
  readonly sources: Sources;
  readonly hedges: HedgeBudget;
  readonly budgets: (upstream: UpstreamClient) => readonly SharedArrayBuffer[];
  readonly now: () => number;
};

/**
 * Downloads one blob: by one connection at first, by more as long as they make it faster, from whichever upstream is
 * expected to be the quickest. What breaks off is continued at the missing byte by whoever is best then.
 */
export class Download {
  readonly #log: Log;
  readonly #job: Job;
  readonly #patience: DownloadPatience;
  readonly #lanes = new Lanes();
  readonly #growth = new Growth();
  #settled: PromiseWithResolvers<void> = Promise.withResolvers();
  #failure: { readonly error: unknown } | undefined;
  #whole = false;

  constructor(deps: { log: Log }, job: Job, patience: DownloadPatience) {
    this.#log = deps.log;
    this.#job = job;
    this.#patience = patience;
  }

  /**
   * Brings the missing bytes and verifies them all.
   * @throws OciError when no upstream has it, lets us, or can be reached; IntegrityError when the bytes are wrong
   */
  async run(signal: AbortSignal): Promise<void> {
    const { fill, slot, digest } = this.#job;
    const ending = new AbortController();
    const own = AbortSignal.any([signal, ending.signal]);
    try {
      await this.#fetch(own);
    } finally {
      ending.abort();
      await Promise.allSettled(this.#lanes.all.map((run) => run.ended));
    }
    fill.note({ kind: 'whole' });
    const found = await slot.verify();
    if (found !== undefined) throw new IntegrityError(digest, found);
    fill.note({ kind: 'right' });
  }

  async #fetch(signal: AbortSignal): Promise<void> {
    const { fill, sources } = this.#job;
    let idleRounds = 0;
    let lookedTwice = false;
    let before = fill.arrival.arrived().size;
    while (!this.#isWhole()) {
      signal.throwIfAborted();
      if (this.#failure !== undefined) throw this.#failure.error;
      this.#look();
      while (this.#lanes.size < this.#wantedLanes() && this.#open(signal)) {
        // One at a time: each changes what is best for the next.
      }
      if (this.#lanes.size > 0) {
        await this.#nextEvent(signal);
        continue;
      }
      const now = fill.arrival.arrived().size;
      idleRounds = now - before >= progressFloor ? 0 : idleRounds + 1;
      before = now;
      const verdict = weigh(sources.refusals());
      const { pause } = this.#patience;
      const wait = lookedTwice ? undefined : pauseBeforeSecondLook(verdict, { named: fill.sizeGiven, pause });
      if (wait !== undefined) {
        lookedTwice = true;
        await delay(wait, signal);
        sources.newRound(verdict.kind);
        continue;
      }
      const hopeless = idleRounds > 0 && sources.allBarred;
      if (verdict.kind !== 'unavailable' || hopeless || idleRounds >= this.#patience.rounds) {
        const { target, digest } = this.#job;
        throw verdictError(verdict, `blob ${digest} of ${imageName(target)}`, 'BLOB_UNKNOWN');
      }
      if (idleRounds > 0) await delay(pause * 2 ** (idleRounds - 1), signal);
      sources.newRound();
    }
  }

  #isWhole(): boolean {
    const { size } = this.#job.fill.arrival;
    return this.#whole || (size !== undefined && this.#job.fill.arrival.arrived().size >= size);
  }

  /** Measures, and gives up lanes that are too slow for what others could do. */
  #look(): void {
    const { fill, sources, now } = this.#job;
    const at = now();
    const runs = this.#lanes.all;
    for (const run of runs) {
      if (run.cancelled) continue;
      const { upstream, throttled } = run.order;
      run.measure(at, throttled ? 0 : upstream.minSpeed);
      const better = sources.choose(
        run.stop - run.position,
        this.#lanes.byUpstream(),
        (other) => other !== upstream,
      );
      const left = secondsLeft(plannedLane(run));
      const hopeless =
        better !== undefined && left > 1 && left > muchQuicker * ((run.stop - run.position) / better.rate);
      if (run.slowFor(at) >= slowest || (hopeless && run.slowFor(at) > 0)) {
        this.#log.warn(
          { digest: fill.digest, upstream: upstream.name, rate: Math.round(run.rate) },
          'slow connection given up',
        );
        upstream.health.observeFailure('stall');
        sources.bench(unavailable(upstream, 'its connection became too slow'));
        run.cancel();
      }
    }
    const size = fill.arrival.size;
    if (size === undefined) return;
    const bytes = fill.arrival.arrived().size;
    const busy = runs.length >= this.#growth.allowed && runs.every(({ begunAt }) => begunAt !== undefined);
    const strain = this.#job.slot.utilization();
    this.#growth.observe({ bytes, left: size - bytes, busy, strain, now: at });
  }

  /** How many lanes there should be: what growth allows, and one more for a reader whose bytes nobody brings soon. */
  #wantedLanes(): number {
    const { fill } = this.#job;
    if (fill.arrival.size === undefined) return 1;
    const hedge = this.#lanes.late(this.#job.now()) === undefined ? 0 : 1;
    const reader = fill.wanted.length > 0 && this.#stretch()?.urgent === true ? 1 : 0;
    const idle = this.#growth.allowed > 1 && this.#hasIdleLine() ? 1 : 0;
    return Math.min(
      laneSlots,
      Math.max(this.#growth.allowed, this.#lanes.size + Math.max(hedge, reader, idle)),
    );
  }

  /** Whether an upstream that helped has nothing to do: where several lines help, none is to lie idle. */
  #hasIdleLine(): boolean {
    const { fill, sources } = this.#job;
    const busy = this.#lanes.byUpstream();
    return [...fill.upstreams].some((name) => !busy.has(name) && sources.mayHelp(name));
  }

  #open(signal: AbortSignal): boolean {
    const late = this.#lanes.late(this.#job.now());
    if (late !== undefined) return this.#hedge(late, signal);
    const { fill, sources } = this.#job;
    const { size } = fill.arrival;
    if (size === undefined) {
      const choice = this.#lanes.size === 0 ? sources.choose(undefined, new Map()) : undefined;
      if (choice === undefined) return false;
      const start = fill.arrival.arrived().runFrom(0);
      this.#start(choice, { start, end: undefined }, signal);
      return true;
    }
    const stretch = this.#stretch();
    if (stretch === undefined) return false;
    const alone = this.#lanes.size === 0;
    const choice = sources.choose(stretch.end - stretch.start, this.#lanes.byUpstream(), ({ name }) => {
      return alone || !sources.isRangeless(name);
    });
    if (choice === undefined) return false;
    if (stretch.cut !== undefined) fill.arrival.progress.cut(stretch.cut.slot, stretch.cut.at);
    this.#start(choice, stretch, signal);
    return true;
  }

  #hedge(late: LaneRun, signal: AbortSignal): boolean {
    const { sources, hedges } = this.#job;
    const { start, end, upstream } = late.order;
    const choice = sources.choose(
      end && end - start,
      this.#lanes.byUpstream(),
      (other) => other !== upstream,
    );
    if (choice === undefined || choice.excluded || !hedges.take()) return false;
    this.#start({ ...choice, reason: `${upstream.name} is late` }, { start, end }, signal);
    return true;
  }

  #stretch(): Stretch | undefined {
    const { fill } = this.#job;
    const { size } = fill.arrival;
    if (size === undefined) return undefined;
    const lanes = this.#lanes.planned();
    return nextStretch({ size, arrived: fill.arrival.arrived(), lanes, wanted: fill.wanted });
  }

  #start(choice: Choice, stretch: { start: number; end: number | undefined }, signal: AbortSignal): void {
    const { target, digest, fill, slot: fillSlot, budgets, now, hedges } = this.#job;
    const { upstream } = choice;
    const slot = this.#lanes.freeSlot();
    const { size } = fill.arrival;
    fill.arrival.begin(slot, stretch.start, stretch.end ?? size ?? Number.MAX_SAFE_INTEGER);
    hedges.sent();
    const run = new LaneRun(
      { slot: fillSlot, progress: fill.arrival.progress, now },
      {
        slot,
        upstream,
        repository: target.repository,
        digest,
        start: stretch.start,
        end: stretch.end === size ? undefined : stretch.end,
        maySkip: this.#lanes.size === 0,
        expectedRate: this.#lanes.rateOf(upstream) ?? choice.rate,
        budgets: budgets(upstream),
        throttled: target.budget?.throttled === true,
      },
      (lane, total) => this.#begun(lane, total),
      signal,
    );
    this.#lanes.add(run);
    run.ended.then(
      (end) => this.#ended(run, choice, end),
      (error: unknown) => {
        this.#close(run, choice);
        this.#failure ??= { error };
      },
    );
  }

  #begun(lane: LaneRun, total: number | undefined): void {
    const { fill } = this.#job;
    fill.upstreams.add(lane.order.upstream.name);
    fill.firstByteMs ??= Math.round((this.#job.now() - lane.startedAt) * 10) / 10;
    if (total !== undefined) {
      fill.announceSize(total);
      if (lane.stop > total) fill.arrival.progress.cut(lane.order.slot, total);
    }
    // The first to answer has won: whoever was asked for the same bytes is not needed any more.
    for (const run of this.#lanes.all) {
      if (run !== lane && run.order.start === lane.order.start && run.begunAt === undefined) run.cancel();
    }
    this.#settled.resolve();
  }

  #ended(run: LaneRun, choice: Choice, { position, refusal, complete }: LaneEnd): void {
    const { upstream } = choice;
    const { fill, sources, digest, target } = this.#job;
    const { start } = run.order;
    this.#close(run, choice);
    if (complete && fill.arrival.size === undefined) this.#whole = true;
    const short = complete && position < Math.min(run.stop, fill.arrival.size ?? run.stop);
    if (refusal === undefined && !short) return;
    if (refusal?.kind === 'unavailable' && refusal.cause.message === rangeless) {
      sources.noteRangeless(upstream.name);
      this.#giveBack(run);
      return;
    }
    this.#log.warn(
      {
        image: imageName(target),
        digest,
        upstream: upstream.name,
        at: position,
        result: refusal?.kind ?? 'short',
        ...(refusal?.kind === 'unavailable' && { cause: refusal.cause.message }),
      },
      'blob download interrupted',
    );
    // Whoever brought something before it broke off may go on at once; one that is gone says so then.
    if (position - start >= progressFloor && refusal?.kind !== 'limited') return;
    sources.bench(refusal ?? unavailable(upstream, 'its answer ends too early'));
  }

  /** Lets the lane that was cut short for `run` have its bytes back. */
  #giveBack({ order: { start }, stop }: LaneRun): void {
    for (const run of this.#lanes.all) {
      if (run.stop === start) this.#job.fill.arrival.progress.cut(run.order.slot, stop);
    }
  }

  #close(run: LaneRun, { upstream: { name }, reason }: Choice): void {
    const { fill } = this.#job;
    const { start } = run.order;
    if (run.position > start || fill.arrival.size === 0)
      fill.served.push({ upstream: name, start, end: run.position, because: reason });
    this.#lanes.remove(run);
    this.#job.fill.arrival.settle(run.order.slot);
    this.#settled.resolve();
  }

  /** Waits until a lane begins or ends, or it is time for another look. */
  async #nextEvent(signal: AbortSignal): Promise<void> {
    const timer = new AbortController();
    try {
      const look = delay(tick, AbortSignal.any([timer.signal, signal]));
      await Promise.race([look, this.#settled.promise]);
      look.catch(() => undefined);
    } finally {
      timer.abort();
      this.#settled = Promise.withResolvers();
    }
  }
}

function unavailable(upstream: UpstreamClient, message: string): Refusal {
  const cause = new UpstreamError(message, { upstream: upstream.name, op: 'get-blob' });
  return { kind: 'unavailable', upstream: upstream.name, cause };
}
