import { expect, test } from 'vitest';
import { weigh } from '../../../src/pull/asking/outcomes.ts';
import { pauseBeforeAskingAgain } from '../../../src/pull/download/ask-again.ts';
import { refusals } from '../scripted-upstream.ts';

const named = { named: true, pause: 250 };
const limited = (retryAfter: number | undefined) => weigh([{ ...refusals.limited, retryAfter }]);

test('what is missing is asked for again where a manifest names it', () => {
  const missing = weigh([refusals.missing]);
  expect(pauseBeforeAskingAgain(missing, named)).toBe(250);
  expect(pauseBeforeAskingAgain(missing, { ...named, named: false })).toBeUndefined();
});

test('a rate limit is waited for where that is short, whether a manifest names the blob or not', () => {
  for (const how of [named, { ...named, named: false }]) {
    expect(pauseBeforeAskingAgain(limited(5), how)).toBe(5_050);
    expect(pauseBeforeAskingAgain(limited(6), how)).toBeUndefined();
    expect(pauseBeforeAskingAgain(limited(undefined), how)).toBeUndefined();
  }
});

test('a refusal, an outage and no upstream at all are final, or patience enough', () => {
  for (const verdict of [weigh([refusals.denied]), weigh([refusals.unavailable]), weigh([])]) {
    expect(pauseBeforeAskingAgain(verdict, named)).toBeUndefined();
  }
});
