import fc from 'fast-check';
import { expect, test } from 'vitest';
import { RangeSet } from '../../../src/lib/range-set.ts';
import {
  type Lane,
  nextRange,
  type PlannedRange,
  secondsLeft,
} from '../../../src/pull/download/range-plan.ts';

const unit = 64 * 1024;
const units = 256;
const size = units * unit;
const leastBytes = 256 * 1024;
const leastSeconds = 0.3;

/** A lane of upstream `a` in units, quick enough to need a second for 16 of them. */
function lane(slot: number, position: number, stop: number, rate = 16 * unit): Lane {
  return { slot, upstream: 'a', position: position * unit, stop: stop * unit, rate };
}

function next(
  lanes: readonly Lane[],
  { arrived = [], wanted = [] }: { arrived?: readonly [number, number][]; wanted?: readonly number[] } = {},
) {
  const there = arrived.map(([start, end]) => [start * unit, end * unit] as const);
  const stretch = nextRange({
    size,
    arrived: new RangeSet(there),
    lanes,
    wanted: wanted.map((position) => position * unit),
  });
  if (stretch === undefined) return undefined;
  const { start, end, cut, urgent } = stretch;
  return {
    range: [start / unit, end / unit],
    ...(cut && { cut: [cut.slot, cut.at / unit] }),
    ...(urgent && { urgent }),
  };
}

test('the first connection fetches everything', () => {
  expect(next([])).toEqual({ range: [0, units] });
});

test('the first bytes that nobody brings come first', () => {
  expect(next([lane(0, 10, 40)], { arrived: [[0, 10]] })).toEqual({ range: [40, units] });
  const islands = {
    arrived: [
      [0, 10],
      [60, 80],
    ] as [number, number][],
  };
  expect(next([], islands)).toEqual({ range: [10, 60] });
  expect(next([lane(0, 10, 40)], islands)).toEqual({ range: [40, 60] });
});

test('what a reader waits for comes before that, from where it waits', () => {
  expect(next([lane(0, 0, 40)], { wanted: [100] })).toEqual({ range: [100, units], urgent: true });
});

test('of several readers the first in the blob is served first, and those whose bytes are there or come soon not at all', () => {
  const state = { arrived: [[0, 10]] as [number, number][], wanted: [5, 20, 100, 150] };
  // The lane needs five eighths of a second to come to 20.
  expect(next([lane(0, 10, 90)], state)).toEqual({ range: [100, units], urgent: true });
});

test('bytes that are here are not fetched again for a reader, though a lane was to bring them', () => {
  // As a lane does that began before the size was known.
  const state = {
    arrived: [
      [0, 10],
      [60, 80],
    ] as [number, number][],
    wanted: [65],
  };
  expect(next([lane(0, 10, 90)], state)).toEqual({ range: [90, units] });
});

test('a lane that will take long to come to a reader ends there, for one that begins there', () => {
  const arrived = [[0, 10]] as [number, number][];
  expect(next([lane(0, 10, 90)], { arrived, wanted: [26] })).toEqual({ range: [90, units] });
  expect(next([lane(0, 10, 90)], { arrived, wanted: [27] })).toEqual({
    range: [27, 90],
    cut: [0, 27],
    urgent: true,
  });
});

test('when somebody brings everything, the second half of the slowest lane’s rest is taken', () => {
  expect(next([lane(0, 0, units)])).toEqual({ range: [128, units], cut: [0, 128] });
  const quick = lane(0, 0, 200, 1_000 * unit);
  const slow = lane(1, 200, units, 2 * unit);
  expect(next([quick, slow])).toEqual({ range: [228, units], cut: [1, 228] });
});

test('of a lane that has little left, or is done in a moment, nothing is taken', () => {
  const rest = [[0, 249]] as [number, number][];
  expect(next([lane(0, 249, units, unit)], { arrived: rest })).toBeUndefined();
  expect(next([lane(0, 248, units, unit)], { arrived: [[0, 248]] })).toEqual({
    range: [252, units],
    cut: [0, 252],
  });
  expect(next([lane(0, 0, units, 1_000 * unit)])).toBeUndefined();
});

test('what another connection needs to begin is not taken from a lane that needs no longer itself', () => {
  const needsSixteenSeconds = lane(0, 0, units);
  expect(next([{ ...needsSixteenSeconds, worth: 16.5 }])).toBeUndefined();
  expect(next([{ ...needsSixteenSeconds, worth: 16 }])).toMatchObject({ cut: [0, 128] });
});

test('when everything is here nothing is left to fetch, whoever waits', () => {
  expect(next([], { arrived: [[0, units]], wanted: [3, 7] })).toBeUndefined();
});

test('how long a lane needs for its rest follows from its rate, and is long for one that has none', () => {
  expect(secondsLeft(lane(0, 0, 32))).toBe(2);
  expect(secondsLeft(lane(0, 0, 1, 0))).toBe(unit);
});

type Step =
  | { readonly kind: 'open'; readonly wanted: readonly number[]; readonly rate: number }
  | { readonly kind: 'advance'; readonly which: number; readonly by: number }
  | { readonly kind: 'end'; readonly which: number };

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant('open' as const),
      wanted: fc
        .array(fc.nat(size), { maxLength: 3 })
        .map((positions) => positions.toSorted((a, b) => a - b)),
      rate: fc.constantFrom(0, unit, 16 * unit, 10_000 * unit),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({ kind: fc.constant('advance' as const), which: fc.nat(7), by: fc.nat(40 * unit) }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('end' as const), which: fc.nat(7) }) },
);

/** What is neither here nor claimed by a lane. */
function unclaimed(arrived: RangeSet, lanes: readonly Lane[]): readonly (readonly [number, number])[] {
  const taken = new RangeSet(arrived.intervals);
  for (const { position, stop } of lanes) taken.add(position, stop);
  return taken.gaps(0, size);
}

/** Checks one choice against the state it was made for. */
function judge(
  stretch: PlannedRange | undefined,
  arrived: RangeSet,
  lanes: readonly Lane[],
  wanted: readonly number[],
): 'free' | 'urgent' | 'cut' | 'steal' | 'none' {
  const free = unclaimed(arrived, lanes);
  const inGap = (position: number) => free.some(([from, to]) => from <= position && position < to);
  const waiting = wanted.filter((position) => position < size && arrived.runFrom(position) === position);
  const late = (position: number) => {
    const found = lanes.find((each) => each.position <= position && position < each.stop);
    return found !== undefined && (position - found.position) / Math.max(1, found.rate) > 1;
  };
  const due = waiting.find((position) => inGap(position) || late(position));
  const steals = lanes.filter(
    (each) => each.stop - each.position >= 2 * leastBytes && secondsLeft(each) >= leastSeconds,
  );
  if (stretch === undefined) {
    expect([due, free.length, steals.length]).toEqual([undefined, 0, 0]);
    return 'none';
  }
  const { start, end, cut, urgent } = stretch;
  expect(start).toBeGreaterThanOrEqual(0);
  expect(end).toBeGreaterThan(start);
  expect(end).toBeLessThanOrEqual(size);
  const remaining = lanes.map((each) => (each.slot === cut?.slot ? { ...each, stop: cut.at } : each));
  // Nothing of it is here, and nobody else will bring any of it.
  expect(new RangeSet(unclaimed(arrived, remaining)).runFrom(start)).toBeGreaterThanOrEqual(end);
  expect(urgent).toBe(due !== undefined);
  if (urgent) expect(start).toBe(due);
  if (cut === undefined) {
    if (!urgent) expect(start).toBe(free[0]?.[0]);
    return urgent ? 'urgent' : 'free';
  }
  const victim = lanes.find(({ slot }) => slot === cut.slot);
  expect(victim).toBeDefined();
  if (victim === undefined) return 'none';
  expect(cut.at).toBe(start);
  expect(end).toBe(victim.stop);
  expect(cut.at).toBeGreaterThan(victim.position);
  if (urgent) return 'cut';
  expect(free).toEqual([]);
  expect(Math.min(cut.at - victim.position, end - cut.at)).toBeGreaterThanOrEqual(leastBytes - 1);
  expect(secondsLeft(victim)).toBeGreaterThanOrEqual(leastSeconds);
  for (const other of steals) expect(secondsLeft(victim)).toBeGreaterThanOrEqual(secondsLeft(other));
  return 'steal';
}

test('however lanes come, go and advance, a stretch is nobody else’s: the urgent reader is first, and only who has enough left is cut', () => {
  const seen = { free: 0, urgent: 0, cut: 0, steal: 0, none: 0 };
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.nat(units), fc.nat(30)), { maxLength: 3 }),
      fc.array(step, { minLength: 5, maxLength: 40 }),
      (left, steps) => {
        const arrived = new RangeSet(
          left.map(([start, length]) => [start * unit, Math.min(units, start + length) * unit]),
        );
        const lanes: Lane[] = [];
        let slots = 0;
        for (const each of steps) {
          if (each.kind === 'open') {
            const stretch = nextRange({ size, arrived, lanes, wanted: each.wanted });
            seen[judge(stretch, arrived, lanes, each.wanted)] += 1;
            if (stretch === undefined) continue;
            const { start, end, cut } = stretch;
            const index = lanes.findIndex(({ slot }) => slot === cut?.slot);
            const victim = lanes[index];
            if (victim !== undefined && cut !== undefined) lanes[index] = { ...victim, stop: cut.at };
            lanes.push({ slot: slots++, upstream: 'a', position: start, stop: end, rate: each.rate });
            continue;
          }
          const index = each.which % Math.max(1, lanes.length);
          const chosen = lanes[index];
          if (chosen === undefined) continue;
          if (each.kind === 'end') {
            lanes.splice(index, 1);
            continue;
          }
          const position = Math.min(chosen.stop, chosen.position + each.by);
          arrived.add(chosen.position, position);
          if (position === chosen.stop) lanes.splice(index, 1);
          else lanes[index] = { ...chosen, position };
        }
      },
    ),
    { numRuns: 300 },
  );
  for (const [kind, count] of Object.entries(seen)) expect(count, kind).toBeGreaterThan(0);
});
