import fc from 'fast-check';
import { expect, test } from 'vitest';
import { BufferPool } from '../../../src/http/registry/buffer-pool.ts';

const pooled = 512 * 1024;
const spare = 64 * 1024;

test('a short send gets a buffer of its own size', () => {
  const pool = new BufferPool({ most: 1 });
  expect(pool.acquire(0)).toHaveLength(1);
  expect(pool.acquire(10)).toHaveLength(10);
  expect(pool.acquire(spare)).toHaveLength(spare);
  // None of them counted against the bound.
  expect(pool.acquire(spare + 1)).toHaveLength(pooled);
});

test('a buffer that was given back is handed out again', () => {
  const pool = new BufferPool({ most: 4 });
  const buffer = pool.acquire(pooled);
  pool.release(buffer);
  expect(pool.acquire(spare + 1)).toBe(buffer);
});

test('beyond the bound senders get a small buffer instead of waiting', () => {
  const pool = new BufferPool({ most: 1 });
  pool.acquire(pooled);
  expect(pool.acquire(pooled)).toHaveLength(spare);
});

test('however it is used, no two senders hold one buffer, and the big ones stay within the bound', () => {
  const action = fc.record({ take: fc.boolean(), length: fc.nat(2 * pooled), which: fc.nat() });
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 3 }), fc.array(action, { maxLength: 30 }), (most, actions) => {
      const pool = new BufferPool({ most });
      const held: Buffer[] = [];
      for (const { take, length, which } of actions) {
        if (take || held.length === 0) {
          const buffer = pool.acquire(length);
          expect(held.some((other) => other.buffer === buffer.buffer)).toBe(false);
          expect(buffer.length).toBeGreaterThan(0);
          held.push(buffer);
        } else {
          for (const buffer of held.splice(which % held.length, 1)) pool.release(buffer);
        }
        expect(held.filter((buffer) => buffer.length === pooled).length).toBeLessThanOrEqual(most);
      }
    }),
    { numRuns: 50 },
  );
});
