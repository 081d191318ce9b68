import { expect, test } from 'vitest';
import { readUpTo } from '../../src/lib/read-bytes.ts';

/** A body of chunks that says how many of them were taken, and whether it was left early. */
function bodyOf(chunks: readonly string[], failure?: Error) {
  const seen = { taken: 0, left: false };
  async function* body() {
    try {
      for (const chunk of chunks) {
        seen.taken += 1;
        yield Buffer.from(chunk);
      }
      if (failure !== undefined) throw failure;
    } finally {
      seen.left = seen.taken < chunks.length;
    }
  }
  return { body: body(), seen };
}

test.each([
  ['nothing', [], 4, '', true],
  ['nothing where nothing is wanted', [], 0, '', true],
  ['less than the bound', ['ab', 'c'], 4, 'abc', true],
  ['exactly the bound', ['ab', 'cd'], 4, 'abcd', true],
  ['a byte more, in its last chunk', ['ab', 'cde'], 4, 'abcd', false],
  ['a chunk more', ['ab', 'cd', 'e'], 4, 'abcd', false],
  ['one chunk beyond all bounds', ['abcdefgh'], 0, '', false],
] as const)('%s is read', async (_what, chunks, most, text, whole) => {
  const { bytes, whole: all } = await readUpTo(bodyOf(chunks).body, most);
  expect([bytes.toString(), all]).toEqual([text, whole]);
});

test('a longer body is left at the chunk that shows it', async () => {
  const { body, seen } = bodyOf(['ab', 'cd', 'ef', 'gh', 'ij']);
  await readUpTo(body, 4);
  expect(seen).toEqual({ taken: 3, left: true });
});

test('a body that fails fails the reading', async () => {
  const failure = new Error('cut');
  await expect(readUpTo(bodyOf(['ab'], failure).body, 4)).rejects.toBe(failure);
});
