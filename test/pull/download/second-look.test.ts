import { expect, test } from 'vitest';
import { weigh } from '../../../src/pull/asking/outcomes.ts';
import { pauseBeforeSecondLook } from '../../../src/pull/download/second-look.ts';
import { refusals } from '../scripted-upstream.ts';

const named = { named: true, pause: 250 };
const limited = (retryAfter: number | undefined) => weigh([{ ...refusals.limited, retryAfter }]);

test('what is missing is asked for again where a manifest names it', () => {
  const missing = weigh([refusals.missing]);
  expect(pauseBeforeSecondLook(missing, named)).toBe(250);
  expect(pauseBeforeSecondLook(missing, { ...named, named: false })).toBeUndefined();
});

test('a rate limit is waited for where that is short, whether a manifest names the blob or not', () => {
  for (const how of [named, { ...named, named: false }]) {
    expect(pauseBeforeSecondLook(limited(5), how)).toBe(5_050);
    expect(pauseBeforeSecondLook(limited(6), how)).toBeUndefined();
    expect(pauseBeforeSecondLook(limited(undefined), how)).toBeUndefined();
  }
});

test('a refusal, an outage and no upstream at all are final, or patience enough', () => {
  for (const verdict of [weigh([refusals.denied]), weigh([refusals.unavailable]), weigh([])]) {
    expect(pauseBeforeSecondLook(verdict, named)).toBeUndefined();
  }
});
