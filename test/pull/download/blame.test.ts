import { expect, test } from 'vitest';
import { culpritsOf, suspectsOf } from '../../../src/pull/download/blame.ts';
import type { Served } from '../../../src/pull/fill/served.ts';
import type { FillSlot } from '../../../src/pull/threads/fill-workers.ts';
import { digestOf, seededBytes } from '../../helpers/image.ts';

const right = seededBytes('right', 1_000);

/** A fill of which only the bytes are asked. */
function slotOf(bytes: Buffer) {
  const asked: string[] = [];
  const slot = {
    digests: async (stretches) => {
      asked.push(...stretches.map(([start, end]) => `${start}-${end}`));
      return stretches.map(([start, end]) => digestOf(bytes.subarray(start, end)));
    },
  } satisfies Partial<FillSlot>;
  return { slot: slot as unknown as FillSlot, asked };
}

function damaged(...at: number[]): Buffer {
  const bytes = Buffer.from(right);
  for (const index of at) bytes[index] = (bytes[index] ?? 0) ^ 1;
  return bytes;
}

const served = (upstream: string, start: number, end: number): Served => ({
  upstream,
  start,
  end,
  because: 'test',
});

/** Who is found guilty, when these served a copy that is wrong at these bytes. */
async function guilty(all: readonly Served[], leftover: boolean, ...at: number[]) {
  const suspects = await suspectsOf(slotOf(damaged(...at)).slot, all, leftover);
  return suspects.certain ? suspects.upstreams : culpritsOf(slotOf(right).slot, suspects);
}

test('who brought everything alone is guilty at once, without a comparison', async () => {
  const { slot, asked } = slotOf(damaged(5));
  const all = [served('a', 0, 500), served('a', 500, 1_000)];
  expect(await suspectsOf(slot, all, false)).toEqual({ upstreams: ['a'], certain: true, stretches: [] });
  expect(asked).toEqual([]);
});

test('who brought the rest of what an earlier run left is not guilty for being alone', async () => {
  const rest = [served('a', 400, 1_000)];
  expect(await suspectsOf(slotOf(damaged(5)).slot, rest, true)).toMatchObject({
    upstreams: ['a'],
    certain: false,
  });
  expect(await guilty(rest, true, 5), 'the rest of the earlier run was wrong').toEqual([]);
  expect(await guilty(rest, true, 400), 'its own was').toEqual(['a']);
  expect(await guilty(rest, true, 5, 400), 'both were').toEqual(['a']);
});

test('when nobody brought anything nobody is guilty', async () => {
  const { slot, asked } = slotOf(damaged(5));
  expect(await suspectsOf(slot, [], true)).toEqual({ upstreams: [], certain: false, stretches: [] });
  expect(await guilty([], true, 5)).toEqual([]);
  expect(asked).toEqual([]);
});

test.each([
  ['the first byte of it', [0], ['a']],
  ['the last byte of it', [299], ['a']],
  ['a byte of its second stretch', [999], ['a']],
  ['a byte of the other', [300], ['b']],
  ['a byte of each', [299, 300], ['a', 'b']],
  ['none, though the whole was wrong', [], []],
] as const)('of two that brought parts, who brought what differs is guilty: %s', async (_what, at, names) => {
  const all = [served('a', 0, 300), served('b', 300, 700), served('a', 700, 1_000)];
  expect(await guilty(all, false, ...at)).toEqual(names);
});
