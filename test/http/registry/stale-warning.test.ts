import { expect, test } from 'vitest';
import { staleWarning } from '../../../src/http/registry/stale-warning.ts';

test('an answer that is not stale warns of nothing', () => {
  expect(staleWarning(undefined)).toBeUndefined();
});

test('a warning is one quoted string of plain characters, of bounded length', () => {
  expect(staleWarning('up: it "refuses" \\ connections\r\nX: é')).toBe(
    `299 - "stale: up: it 'refuses' ' connections??X: ?"`,
  );
  expect(staleWarning('x'.repeat(10_000))).toBe(`299 - "${'stale: '.padEnd(300, 'x')}"`);
});
