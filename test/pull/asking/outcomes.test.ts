import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  type Refusal,
  retryAfterOf,
  staleCause,
  verdictError,
  weigh,
} from '../../../src/pull/asking/outcomes.ts';
import { refusals } from '../scripted-upstream.ts';

type Kind = Refusal['kind'];

describe('several answers weigh as', () => {
  test.each([
    [[], 'missing'],
    [['missing'], 'missing'],
    [['denied'], 'denied'],
    [['limited'], 'limited'],
    [['unavailable'], 'unavailable'],
    [['missing', 'missing'], 'missing'],
    [['missing', 'denied'], 'denied'],
    [['denied', 'missing'], 'denied'],
    [['missing', 'limited'], 'limited'],
    [['denied', 'limited'], 'limited'],
    [['missing', 'unavailable'], 'unavailable'],
    [['unavailable', 'missing'], 'unavailable'],
    [['denied', 'unavailable'], 'unavailable'],
    [['limited', 'unavailable'], 'unavailable'],
    [['missing', 'denied', 'limited', 'unavailable'], 'unavailable'],
  ] as [Kind[], Kind][])('%j: %s', (kinds, expected) => {
    expect(weigh(kinds.map((kind) => refusals[kind])).kind).toBe(expected);
  });

  test('the same in any order, and gone only if all agree', () => {
    const kind = fc.constantFrom(...(Object.keys(refusals) as Kind[]));
    fc.assert(
      fc.property(fc.array(kind, { minLength: 1, maxLength: 5 }), (kinds) => {
        const verdict = (order: readonly Kind[]) => weigh(order.map((one) => refusals[one])).kind;
        expect(verdict(kinds.toReversed())).toBe(verdict(kinds));
        expect(verdict(kinds) === 'missing').toBe(kinds.every((one) => one === 'missing'));
      }),
    );
  });
});

test.each([
  [[undefined], undefined],
  [[7], 7],
  [[30, 7, undefined], 7],
  [[0], 1],
  [[0.2], 1],
  [[2.1], 3],
])('of waits of %j seconds clients are told %s', (waits, expected) => {
  const answers = waits.map((retryAfter) => ({ ...refusals.limited, retryAfter }));
  expect(retryAfterOf(weigh(answers))).toBe(expected);
});

describe('a verdict is told as', () => {
  const told = (...kinds: Kind[]) =>
    verdictError(weigh(kinds.map((kind) => refusals[kind])), 'ghcr.io/org/app:v1', 'MANIFEST_UNKNOWN');

  test('gone, denied, limited and down, each by a code of its own', () => {
    expect(told('missing')).toMatchObject({ code: 'MANIFEST_UNKNOWN', retryAfter: undefined });
    expect(told('denied')).toMatchObject({ code: 'DENIED', retryAfter: undefined });
    expect(told('limited')).toMatchObject({ code: 'TOOMANYREQUESTS', retryAfter: 3 });
    expect(told('unavailable')).toMatchObject({ code: 'UNAVAILABLE', retryAfter: 5 });
  });

  test('with what was asked for, who was asked, and why it failed', () => {
    for (const kind of Object.keys(refusals) as Kind[]) {
      expect(told(kind).message).toContain('ghcr.io/org/app:v1');
      expect(told(kind).message).toContain('up');
    }
    expect(told('missing', 'unavailable').message).toContain('it refuses connections');
    expect(told('unavailable').cause).toBe(refusals.unavailable.cause);
  });

  test('not cached only where nothing stands in', () => {
    for (const kind of ['limited', 'unavailable'] as const) {
      expect(told(kind).message).toContain('is not cached');
      expect(staleCause(told(kind))).toMatch(/^up\b/);
      expect(staleCause(told(kind))).not.toContain('cached');
    }
    expect(staleCause(told('missing', 'unavailable'))).toContain('it refuses connections');
  });

  test('gone with the next step of who is told', () => {
    const error = verdictError(weigh([refusals.missing]), 'x', 'NAME_UNKNOWN', 'look elsewhere');
    expect(error.message).toBe('x does not exist upstream (up): look elsewhere');
  });

  test('limited for a minute when nobody said how long', () => {
    const verdict = weigh([{ ...refusals.limited, retryAfter: undefined }]);
    expect(verdictError(verdict, 'x', 'BLOB_UNKNOWN').retryAfter).toBe(60);
  });
});
