import { expect, test } from 'vitest';
import { Remembered } from '../../src/lib/remembered.ts';
import { makeManualClock } from '../helpers/manual-clock.ts';

function begin(most = 3) {
  const clock = makeManualClock();
  const known = new Remembered<string>({ clock }, { most });
  const hold = (key: string, ms: number) => known.set(key, `value of ${key}`, clock.now() + ms);
  return { clock, known, hold };
}

test('a value holds up to its time, and not at it', () => {
  const { clock, known, hold } = begin();
  hold('a', 100);
  clock.advance(99);
  expect(known.get('a')).toBe('value of a');
  clock.advance(1);
  expect(known.get('a')).toBeUndefined();
  expect(known.get('never')).toBeUndefined();
});

test('a later value takes the place of an earlier one, with its own time', () => {
  const { clock, known, hold } = begin();
  hold('a', 1_000);
  known.set('a', 'newer', clock.now() + 10);
  expect(known.get('a')).toBe('newer');
  clock.advance(10);
  expect(known.get('a')).toBeUndefined();
});

test('the one used longest ago makes room', () => {
  const { known, hold } = begin(3);
  for (const key of ['a', 'b', 'c']) hold(key, 1_000);
  known.get('a');
  hold('d', 1_000);
  expect(['a', 'b', 'c', 'd'].map((key) => known.get(key) !== undefined)).toEqual([true, false, true, true]);
});

test('a value can be forgotten, and all of them', () => {
  const { known, hold } = begin();
  for (const key of ['a', 'b', 'c']) hold(key, 1_000);
  known.delete('b');
  expect(known.get('b')).toBeUndefined();
  expect(known.get('c')).toBe('value of c');
  known.clear();
  expect(known.get('a')).toBeUndefined();
});
