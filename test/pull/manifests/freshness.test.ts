import fc from 'fast-check';
import { expect, test } from 'vitest';
import { isDerivedTag } from '../../../src/oci/reference.ts';
import { isFresh, ttlOfTag } from '../../../src/pull/manifests/freshness.ts';

const time = fc.integer({ min: 0, max: 2 ** 45 });
const ttl = fc.integer({ min: 0, max: 2 ** 40 });

test('what is stale never becomes fresh by waiting', () => {
  fc.assert(
    fc.property(time, ttl, time, ttl, (checkedAt, life, age, later) => {
      const now = checkedAt + age;
      if (!isFresh(checkedAt, life, now)) expect(isFresh(checkedAt, life, now + later)).toBe(false);
    }),
  );
});

test('a longer life, or a later confirmation, never makes an answer staler', () => {
  fc.assert(
    fc.property(time, ttl, time, ttl, (checkedAt, life, now, more) => {
      if (!isFresh(checkedAt, life, now)) return;
      expect(isFresh(checkedAt, life + more, now)).toBe(true);
      expect(isFresh(Math.min(now, checkedAt + more), life, now)).toBe(true);
    }),
  );
});

test('an answer is fresh from its confirmation until its time is up, and not at that moment', () => {
  expect(isFresh(1_000, 10, 1_000)).toBe(true);
  expect(isFresh(1_000, 10, 1_009)).toBe(true);
  expect(isFresh(1_000, 10, 1_010)).toBe(false);
  expect(isFresh(1_000, 0, 1_000)).toBe(false);
});

test('a clock set back makes an answer stale', () => {
  expect(isFresh(1_000, 1e9, 999)).toBe(false);
});

test.each([
  ['latest', false],
  ['sha256-abc', false],
  [`sha384-${'0'.repeat(64)}`, false],
  [`x-sha256-${'0'.repeat(64)}`, false],
  [`sha256-${'0'.repeat(64)}`, true],
  [`sha256-${'0'.repeat(64)}.sig`, true],
  [`sha512-${'0'.repeat(64)}.att`, true],
])('%s names what refers to a digest: %s', (tag, derived) => {
  expect(isDerivedTag(tag)).toBe(derived);
  expect(ttlOfTag(tag, 3_600_000)).toBe(derived ? 60_000 : 3_600_000);
  // A shorter life stays as configured.
  expect(ttlOfTag(tag, 5)).toBe(5);
});
