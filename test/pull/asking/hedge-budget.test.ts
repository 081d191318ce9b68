import fc from 'fast-check';
import { expect, test } from 'vitest';
import { HedgeBudget } from '../../../src/pull/asking/hedge-budget.ts';
import { nobody } from '../../helpers/facts.ts';

test('the first late request may be hedged, the next one not', () => {
  const budget = new HedgeBudget({ facts: nobody });
  expect([budget.take(), budget.take(), budget.take()]).toEqual([true, false, false]);
});

test('of many requests that are all late three in a hundred are hedged, and one', () => {
  const budget = new HedgeBudget({ facts: nobody });
  let hedged = 0;
  for (let request = 0; request < 1_000; request += 1) {
    budget.sent();
    if (budget.take()) hedged += 1;
  }
  expect(hedged).toBe(31);
});

test('what is saved up in quiet times is three at most', () => {
  const budget = new HedgeBudget({ facts: nobody });
  for (let request = 0; request < 100_000; request += 1) budget.sent();
  expect([budget.take(), budget.take(), budget.take(), budget.take()]).toEqual([true, true, true, false]);
});

test('whatever the pattern, hedges are at most three in a hundred of the requests, and three', () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.nat(60), fc.nat(6)), { maxLength: 60 }), (bursts) => {
      const budget = new HedgeBudget({ facts: nobody });
      let [sent, hedged] = [0, 0];
      for (const [requests, late] of bursts) {
        for (let request = 0; request < requests; request += 1) budget.sent();
        sent += requests;
        for (let each = 0; each < late; each += 1) if (budget.take()) hedged += 1;
        expect(hedged).toBeLessThanOrEqual(1 + 0.03 * sent + 1e-9);
      }
    }),
  );
});
