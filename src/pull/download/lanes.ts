import type { UpstreamClient } from '../../upstream/client.ts';
import { laneSlots } from '../threads/fill-progress.ts';
import type { LaneRun } from './lane.ts';
import type { Lane } from './range-plan.ts';

/** Nothing is taken from a lane that needs fewer seconds for what it has left, however quick its upstream is to answer. */
const leastWorth = 0.1;

/** Milliseconds to the first byte assumed of an upstream that was not measured. */
const usualFirstByte = 150;

/** Milliseconds for which a first byte is awaited at least before it counts as late. */
const leastPatience = 25;

/** The same while nothing is known of the upstream. */
const unknownPatience = 2_000;

/** The connections that a download has open. */
export class Lanes {
  readonly #runs = new Map<number, LaneRun>();

  get size(): number {
    return this.#runs.size;
  }

  /** All of them. */
  get all(): readonly LaneRun[] {
    return [...this.#runs.values()];
  }

  add(run: LaneRun): void {
    this.#runs.set(run.order.slot, run);
  }

  remove(run: LaneRun): void {
    this.#runs.delete(run.order.slot);
  }

  /** A slot that none of them uses. */
  freeSlot(): number {
    for (let slot = 0; slot < laneSlots; slot += 1) if (!this.#runs.has(slot)) return slot;
    throw new Error('no lane is free');
  }

  /** How many there are to each upstream. */
  byUpstream(): ReadonlyMap<string, number> {
    const counts = new Map<string, number>();
    for (const { order } of this.#runs.values()) {
      const { name } = order.upstream;
      counts.set(name, (counts.get(name) ?? 0) + 1);
    }
    return counts;
  }

  /** Bytes a second that one connection to an upstream brings at present; `undefined` while none has begun. */
  rateOf(upstream: UpstreamClient): number | undefined {
    const begun = this.all.filter((run) => run.order.upstream === upstream && run.begunAt !== undefined);
    if (begun.length === 0) return undefined;
    return begun.reduce((sum, { rate }) => sum + rate, 0) / begun.length;
  }

  /** The connection whose first byte is later than is usual for its upstream, where it is the only one. */
  late(now: number): LaneRun | undefined {
    const [only, second] = this.all;
    if (only === undefined || second !== undefined || only.begunAt !== undefined) return undefined;
    const usual = only.order.upstream.health.usualWorstFirstByte() ?? unknownPatience;
    return now - only.startedAt > Math.max(leastPatience, usual) ? only : undefined;
  }

  /** All of them, as `nextRange` takes them. */
  planned(): readonly Lane[] {
    return this.all.map(plannedLane);
  }
}

/** One connection, as `nextRange` takes it. */
export function plannedLane(run: LaneRun): Lane {
  const { slot, upstream } = run.order;
  const worth = Math.max(leastWorth, (2 * (upstream.health.firstByteMs ?? usualFirstByte)) / 1000);
  return { slot, upstream: upstream.name, position: run.position, stop: run.stop, rate: run.rate, worth };
}
