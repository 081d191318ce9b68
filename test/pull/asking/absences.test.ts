import { expect, test } from 'vitest';
import { Absences } from '../../../src/pull/asking/absences.ts';
import { makeManualClock } from '../../helpers/manual-clock.ts';

test('a failure is recalled until its time is up, as the same error', () => {
  const clock = makeManualClock();
  const absences = new Absences({ clock });
  const error = new Error('gone');
  absences.remember('a', error, 100);
  clock.advance(99);
  expect(absences.recall('a')).toBe(error);
  expect(absences.recall('b')).toBeUndefined();
  clock.advance(1);
  expect(absences.recall('a')).toBeUndefined();
});

test('the newest failure counts, and forgetting ends it', () => {
  const clock = makeManualClock();
  const absences = new Absences({ clock });
  const newest = new Error('second');
  absences.remember('a', new Error('first'), 1_000);
  absences.remember('a', newest, 100);
  expect(absences.recall('a')).toBe(newest);
  absences.forget('a');
  expect(absences.recall('a')).toBeUndefined();
});

test('no time is no memory', () => {
  const absences = new Absences({ clock: makeManualClock() });
  absences.remember('a', new Error('gone'), 0);
  expect(absences.recall('a')).toBeUndefined();
});
