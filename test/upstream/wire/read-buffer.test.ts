import fc from 'fast-check';
import { expect, it } from 'vitest';
import { ReadBuffer } from '../../../src/upstream/wire/read-buffer.ts';

const step = fc.oneof(
  fc.record({ kind: fc.constant('read' as const), count: fc.integer({ min: 1, max: 90_000 }) }),
  fc.record({ kind: fc.constant('read' as const), count: fc.constant(Number.MAX_SAFE_INTEGER) }),
  fc.record({ kind: fc.constant('consume' as const), share: fc.integer({ min: 0, max: 4 }) }),
  fc.record({ kind: fc.constant('lend' as const), share: fc.integer({ min: 1, max: 4 }) }),
  fc.record({ kind: fc.constant('give back' as const) }),
);

it('hands out every byte once and in order, and never offers memory that is lent or waits', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), fc.boolean(), (steps, grows) => {
      const input = new ReadBuffer(128 * 1024, grows ? 512 * 1024 : undefined);
      let offered = input.room();
      let written = 0;
      let read = 0;
      let lent: { bytes: Buffer; copy: Buffer } | undefined;
      const take = (share: number) => {
        const bytes = input.view.subarray(0, Math.floor((input.pending * share) / 4));
        for (const [index, byte] of bytes.entries())
          if (byte !== (read + index) % 251) throw new Error('out of order');
        read += bytes.length;
        input.consume(bytes.length);
        return bytes;
      };
      for (const { kind, ...rest } of steps) {
        if (kind === 'read') {
          const count = Math.min('count' in rest ? rest.count : 0, offered.length);
          expect(count).toBeGreaterThan(0);
          for (let index = 0; index < count; index++) offered[index] = (written + index) % 251;
          written += count;
          input.wrote(count);
          offered = input.room();
        } else if (kind === 'give back') {
          input.giveBack();
          lent = undefined;
        } else if (!lent) {
          const bytes = take('share' in rest ? rest.share : 0);
          if (kind === 'lend') {
            input.lend();
            lent = { bytes, copy: Buffer.from(bytes) };
          }
        }
        expect(input.pending).toBe(written - read);
        if (lent) expect(lent.bytes.equals(lent.copy)).toBe(true);
      }
      take(4);
      expect(read).toBe(written);
    }),
    { numRuns: 200 },
  );
});

it('takes in bytes that were read elsewhere, more than it has room for', () => {
  const input = new ReadBuffer(128 * 1024);
  const bytes = Buffer.alloc(300 * 1024, 'abc');
  input.append(bytes);
  expect(input.view.equals(bytes)).toBe(true);
});

it('offers more where reads fill it time and again, up to its most, and not where one did not', () => {
  const input = new ReadBuffer(128 * 1024, 512 * 1024);
  const read = (count = Number.MAX_SAFE_INTEGER) => {
    const { length } = input.room();
    input.wrote(Math.min(count, length));
    input.consume(input.pending);
    return length / 1024;
  };
  expect([read(), read(), read(), read(10), read(), read(), read(), read()]).toEqual(Array(8).fill(128));
  expect([read(), read(), read(), read()]).toEqual(Array(4).fill(256));
  expect(Array.from({ length: 10 }, () => read())).toEqual(Array(10).fill(512));
});
