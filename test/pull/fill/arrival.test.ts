import fc from 'fast-check';
import { expect, test } from 'vitest';
import { RangeSet } from '../../../src/lib/range-set.ts';
import { Arrival } from '../../../src/pull/fill/arrival.ts';

const mebibyte = 1024 * 1024;
const servedWhole = 4 * mebibyte;
const held = 512 * 1024;

/** An arrival of a blob, the first bytes of which are there. */
function arrivalOf(size: number, written: number): Arrival {
  const arrival = new Arrival();
  arrival.announceSize(size);
  arrival.restore([[0, written]]);
  return arrival;
}

const anySize = fc.oneof(fc.nat(servedWhole), fc.integer({ min: servedWhole + 1, max: 2 ** 40 }));

test('before the digest is verified the last piece is held back, and a small blob entirely', () => {
  fc.assert(
    fc.property(anySize, fc.nat(1_000), (size, thousandths) => {
      const written = Math.floor((size / 1_000) * thousandths);
      const front = arrivalOf(size, written).readable(0, 'front');
      expect(front).toBe(size <= servedWhole ? 0 : Math.min(written, size - held));
    }),
  );
});

test('what may be read never shrinks as bytes arrive', () => {
  fc.assert(
    fc.property(fc.nat(2 ** 40), fc.nat(2 ** 40), fc.nat(2 ** 40), (size, written, more) => {
      const before = arrivalOf(size, written).readable(0, 'front');
      expect(arrivalOf(size, written + more).readable(0, 'front')).toBeGreaterThanOrEqual(before);
    }),
  );
});

test('where nothing is shown nothing may be read, whatever is here', () => {
  expect(arrivalOf(100 * mebibyte, 100 * mebibyte).readable(0, 'nothing')).toBe(0);
});

test('of a blob whose size is not known nothing may be read', () => {
  const arrival = new Arrival();
  arrival.restore([[0, 100 * mebibyte]]);
  expect(arrival.readable(0, 'front')).toBe(0);
  arrival.announceSize(100 * mebibyte);
  expect(arrival.readable(0, 'front')).toBe(100 * mebibyte - held);
});

test('the first word about the size holds', () => {
  const arrival = new Arrival();
  expect(arrival.size).toBeUndefined();
  arrival.announceSize(7);
  arrival.announceSize(8);
  expect(arrival.size).toBe(7);
});

type Step =
  | { readonly kind: 'begin' | 'advance' | 'settle'; readonly slot: number; readonly amount: number }
  | { readonly kind: 'restore'; readonly start: number; readonly length: number };

const size = 6 * mebibyte;
const unit = 64 * 1024;
const units = size / unit;
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constantFrom('begin' as const, 'advance' as const, 'advance' as const, 'settle' as const),
      slot: fc.nat(3),
      amount: fc.nat(units),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('restore' as const),
      start: fc.nat(units),
      length: fc.nat(20),
    }),
  },
);

test('what may be read is what all connections and earlier runs brought together, but for the last piece', () => {
  const seen = { joined: 0, apart: 0 };
  fc.assert(
    fc.property(fc.array(step, { minLength: 4, maxLength: 30 }), (steps) => {
      const arrival = new Arrival();
      arrival.announceSize(size);
      const oracle = new RangeSet();
      const lanes = new Map<number, number>();
      for (const each of steps) {
        if (each.kind === 'restore') {
          const [start, end] = [each.start * unit, Math.min(size, (each.start + each.length) * unit)];
          arrival.restore([[start, end]]);
          oracle.add(start, end);
          continue;
        }
        const position = lanes.get(each.slot);
        if (each.kind === 'begin' && position === undefined) {
          arrival.begin(each.slot, each.amount * unit, size);
          lanes.set(each.slot, each.amount * unit);
        } else if (each.kind === 'advance' && position !== undefined) {
          const further = Math.min(size, position + (each.amount * unit) / 4);
          arrival.progress.advance(each.slot, further);
          oracle.add(position, further);
          lanes.set(each.slot, further);
        } else if (each.kind === 'settle' && position !== undefined) {
          arrival.settle(each.slot);
          lanes.delete(each.slot);
        }
      }
      expect(arrival.arrived().intervals).toEqual(oracle.intervals);
      for (let at = 0; at <= size; at += unit / 4) {
        const due = Math.max(0, Math.min(oracle.runFrom(at), size - held) - at);
        expect(arrival.readable(at, 'front'), `at ${at}`).toBe(due);
      }
      seen[oracle.intervals.length > 1 ? 'apart' : 'joined'] += 1;
    }),
  );
  for (const [kind, count] of Object.entries(seen)) expect(count, kind).toBeGreaterThan(0);
});

test('what has arrived is made anew only when there is more', () => {
  const arrival = arrivalOf(size, mebibyte);
  const before = arrival.arrived();
  expect(arrival.arrived()).toBe(before);
  arrival.begin(0, 2 * mebibyte, size);
  arrival.progress.advance(0, 3 * mebibyte);
  const after = arrival.arrived();
  expect(after.size).toBe(2 * mebibyte);
  expect(before.size).toBe(mebibyte);
  // A worker says how far it has come, and only then that it has come further.
  Atomics.store(new BigInt64Array(arrival.progress.shared, 8, 1), 0, BigInt(4 * mebibyte));
  expect(arrival.arrived().size).toBe(3 * mebibyte);
  arrival.reset();
  expect(arrival.arrived().size).toBe(0);
});

test('once verified everything may be read, and nothing beyond', () => {
  const arrival = new Arrival();
  arrival.begin(0, 0, Number.MAX_SAFE_INTEGER);
  arrival.progress.advance(0, 1_000);
  arrival.settle(0);
  arrival.announceSize(1_000);
  expect([0, 999, 1_000, 1_001].map((position) => arrival.readable(position, 'all'))).toEqual([
    1_000, 1, 0, 0,
  ]);
});

test('after a reset nothing is here, whatever a connection says that has not ended yet', () => {
  const arrival = arrivalOf(size, mebibyte);
  arrival.begin(0, 2 * mebibyte, size);
  arrival.progress.advance(0, 3 * mebibyte);
  expect(arrival.readable(0, 'front')).toBe(mebibyte);
  arrival.reset();
  expect(arrival.arrived().intervals).toEqual([]);
  expect(arrival.readable(0, 'front')).toBe(0);
  arrival.progress.advance(0, 4 * mebibyte);
  arrival.settle(0);
  expect(arrival.arrived().intervals).toEqual([]);
});

test('who waits is woken by whatever changes what may be read', () => {
  const arrival = new Arrival();
  const changes: ((on: Arrival) => void)[] = [
    (on) => on.restore([[0, 1]]),
    (on) => {
      on.begin(0, 1, 10);
      on.progress.advance(0, 5);
    },
    (on) => on.settle(0),
    (on) => on.reset(),
  ];
  for (const change of changes) {
    const { epoch } = arrival.progress;
    change(arrival);
    expect(arrival.progress.epoch).not.toBe(epoch);
  }
});
