import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type Interval, RangeSet } from '../../src/lib/range-set.ts';

/** Small enough that intervals often overlap, touch and repeat. */
const end = 40;
const interval = fc.tuple(fc.nat(end), fc.nat(end)) satisfies fc.Arbitrary<Interval>;

/** The numbers that intervals stand for; an interval that ends before it begins stands for none. */
function numbersOf(intervals: Iterable<Interval>): Set<number> {
  const numbers = new Set<number>();
  for (const [from, to] of intervals) for (let number = from; number < to; number += 1) numbers.add(number);
  return numbers;
}

test('a range set holds what was added to it, whatever the order, and nothing else', () => {
  fc.assert(
    fc.property(fc.array(interval, { maxLength: 12 }), (added) => {
      const set = new RangeSet();
      for (const [from, to] of added) set.add(from, to);
      const oracle = numbersOf(added);
      expect(numbersOf(set.intervals)).toEqual(oracle);
      expect(set.size).toBe(oracle.size);
      expect(new RangeSet(added).intervals).toEqual(set.intervals);
    }),
  );
});

test('its intervals are sorted, none is empty, and no two of them overlap or touch', () => {
  fc.assert(
    fc.property(fc.array(interval, { maxLength: 12 }), (added) => {
      const { intervals } = new RangeSet(added);
      let before = -1;
      for (const [from, to] of intervals) {
        expect(from).toBeGreaterThan(before);
        expect(to).toBeGreaterThan(from);
        before = to;
      }
    }),
  );
});

test('a run goes on as long as the numbers are there', () => {
  fc.assert(
    fc.property(fc.array(interval, { maxLength: 12 }), fc.nat(end + 2), (added, position) => {
      const oracle = numbersOf(added);
      let due = position;
      while (oracle.has(due)) due += 1;
      expect(new RangeSet(added).runFrom(position)).toBe(due);
    }),
  );
});

test('the gaps are the numbers in between that are not there', () => {
  fc.assert(
    fc.property(fc.array(interval, { maxLength: 12 }), fc.nat(end), fc.nat(end), (added, from, to) => {
      const oracle = numbersOf(added);
      const gaps = new RangeSet(added).gaps(from, to);
      const missing = [...numbersOf([[from, to]])].filter((number) => !oracle.has(number));
      expect([...numbersOf(gaps)]).toEqual(missing);
      // As few as there can be: who fetches them opens one connection for each.
      expect(gaps).toEqual(new RangeSet(gaps).intervals);
    }),
  );
});

test('what a set is made of another one of is a copy', () => {
  const first = new RangeSet([[0, 10]]);
  const second = new RangeSet(first.intervals);
  second.add(10, 20);
  expect(first.intervals).toEqual([[0, 10]]);
  expect(second.intervals).toEqual([[0, 20]]);
});

test('positions beyond four gigabytes are exact', () => {
  const far = 2 ** 45;
  const set = new RangeSet([
    [far, far + 1],
    [far + 2, far + 3],
  ]);
  expect(set.gaps(far, far + 3)).toEqual([[far + 1, far + 2]]);
  set.add(far + 1, far + 2);
  expect(set.intervals).toEqual([[far, far + 3]]);
});
