import { expect, test } from 'vitest';
import { blame, recordWrongCopy } from '../../../src/pull/download/blame.ts';
import type { Delivery } from '../../../src/pull/fill/delivery.ts';
import type { FillSlot } from '../../../src/pull/threads/fill-workers.ts';
import { digestOf, seededBytes } from '../../helpers/image.ts';

const right = seededBytes('right', 1_000);

/** A fill of which only the bytes are asked. */
function slotOf(bytes: Buffer) {
  const asked: string[] = [];
  const slot = {
    digests: async (ranges) => {
      asked.push(...ranges.map(([start, end]) => `${start}-${end}`));
      return ranges.map(([start, end]) => digestOf(bytes.subarray(start, end)));
    },
  } satisfies Partial<FillSlot>;
  return { slot: slot as unknown as FillSlot, asked };
}

function damaged(...at: number[]): Buffer {
  const bytes = Buffer.from(right);
  for (const index of at) bytes[index] = (bytes[index] ?? 0) ^ 1;
  return bytes;
}

const brought = (upstream: string, start: number, end: number): Delivery => ({
  upstream,
  start,
  end,
  because: 'test',
});

/** Who is found guilty, when these brought a copy that is wrong at these bytes. */
async function guilty(all: readonly Delivery[], leftover: boolean, ...at: number[]) {
  const copy = await recordWrongCopy(slotOf(damaged(...at)).slot, all, leftover);
  return copy.certain ? copy.upstreams : blame(slotOf(right).slot, copy);
}

test('who brought everything alone is guilty at once, without a comparison', async () => {
  const { slot, asked } = slotOf(damaged(5));
  const all = [brought('a', 0, 500), brought('a', 500, 1_000)];
  expect(await recordWrongCopy(slot, all, false)).toEqual({ upstreams: ['a'], certain: true, ranges: [] });
  expect(asked).toEqual([]);
});

test('who brought the rest of what an earlier run left is not guilty for being alone', async () => {
  const rest = [brought('a', 400, 1_000)];
  expect(await recordWrongCopy(slotOf(damaged(5)).slot, rest, true)).toMatchObject({
    upstreams: ['a'],
    certain: false,
  });
  expect(await guilty(rest, true, 5), 'the rest of the earlier run was wrong').toEqual([]);
  expect(await guilty(rest, true, 400), 'its own was').toEqual(['a']);
  expect(await guilty(rest, true, 5, 400), 'both were').toEqual(['a']);
});

test('when nobody brought anything nobody is guilty', async () => {
  const { slot, asked } = slotOf(damaged(5));
  expect(await recordWrongCopy(slot, [], true)).toEqual({ upstreams: [], certain: false, ranges: [] });
  expect(await guilty([], true, 5)).toEqual([]);
  expect(asked).toEqual([]);
});

test.each([
  ['the first byte of it', [0], ['a']],
  ['the last byte of it', [299], ['a']],
  ['a byte of its second range', [999], ['a']],
  ['a byte of the other', [300], ['b']],
  ['a byte of each', [299, 300], ['a', 'b']],
  ['none, though the whole was wrong', [], []],
] as const)('of two that brought parts, who brought what differs is guilty: %s', async (_what, at, names) => {
  const all = [brought('a', 0, 300), brought('b', 300, 700), brought('a', 700, 1_000)];
  expect(await guilty(all, false, ...at)).toEqual(names);
});
