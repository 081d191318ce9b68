import type { Interval } from '../../lib/range-set.ts';
import type { Arrived } from '../fill/arrival.ts';

/** One connection under way within a fill: it writes from `position` on, and ends before `stop`. */
export type Lane = {
  readonly slot: number;
  readonly upstream: string;
  /** The next byte it will write. */
  readonly position: number;
  readonly stop: number;
  /** Bytes a second, measured lately; 0 before its first bytes. */
  readonly rate: number;
  /** Nothing is taken from it when it needs fewer seconds for what it has left: another connection needs those to begin. */
  readonly worth?: number;
};

/** A range for another connection, and the lane that has to end earlier for it. */
export type PlannedRange = {
  readonly start: number;
  readonly end: number;
  readonly cut: { readonly slot: number; readonly at: number } | undefined;
  /** A reader waits for it, and no lane will bring it soon. */
  readonly urgent: boolean;
};

/** Nothing is taken from a lane when half of what it has left is fewer bytes, or when it needs fewer seconds for all. */
const leastSteal = { bytes: 256 * 1024, seconds: 0.3 };

/** A lane that needs less than this many seconds to come to what a reader waits for is left alone. */
const soon = 1;

/**
 * Chooses what another connection of a fill should fetch: what a reader waits for and nobody will bring soon;
 * else the first bytes that nobody is fetching; else the second half of what the slowest lane has left.
 * @param wanted positions that readers wait at, in ascending order
 * @returns `undefined` when one more connection would not help
 */
export function nextRange(state: {
  readonly size: number;
  readonly arrived: Arrived;
  readonly lanes: readonly Lane[];
  readonly wanted: readonly number[];
}): PlannedRange | undefined {
  const { lanes, wanted } = state;
  const free = unclaimed(state);
  for (const position of wanted) {
    if (state.arrived.runFrom(position) > position) continue;
    const gap = free.find(([start, end]) => start <= position && position < end);
    if (gap !== undefined) return { start: position, end: gap[1], cut: undefined, urgent: true };
    const lane = lanes.find((each) => each.position <= position && position < each.stop);
    if (lane !== undefined && secondsFor(position - lane.position, lane) > soon) {
      return { start: position, end: lane.stop, cut: { slot: lane.slot, at: position }, urgent: true };
    }
  }
  const [first] = free;
  return first === undefined
    ? steal(lanes)
    : { start: first[0], end: first[1], cut: undefined, urgent: false };
}

/** The bytes that are not here and that no lane will bring. */
function unclaimed({ size, arrived, lanes }: Parameters<typeof nextRange>[0]): readonly Interval[] {
  const claimed = lanes.toSorted((a, b) => a.position - b.position);
  return arrived.gaps(0, size).flatMap(([start, end]) => {
    const free: Interval[] = [];
    let position = start;
    for (const lane of claimed) {
      if (lane.stop <= position || lane.position >= end) continue;
      if (lane.position > position) free.push([position, lane.position]);
      position = Math.max(position, lane.stop);
    }
    if (position < end) free.push([position, end]);
    return free;
  });
}

function steal(lanes: readonly Lane[]): PlannedRange | undefined {
  let slowest: Lane | undefined;
  for (const lane of lanes) {
    if (lane.stop - lane.position < 2 * leastSteal.bytes) continue;
    if (slowest === undefined || secondsLeft(lane) > secondsLeft(slowest)) slowest = lane;
  }
  if (slowest === undefined || secondsLeft(slowest) < (slowest.worth ?? leastSteal.seconds)) return undefined;
  const at = slowest.position + Math.ceil((slowest.stop - slowest.position) / 2);
  return { start: at, end: slowest.stop, cut: { slot: slowest.slot, at }, urgent: false };
}

/** Seconds that a lane needs to come to its stop, at its present rate. */
export function secondsLeft(lane: Lane): number {
  return secondsFor(lane.stop - lane.position, lane);
}

function secondsFor(bytes: number, { rate }: Lane): number {
  return bytes / Math.max(rate, 1);
}
