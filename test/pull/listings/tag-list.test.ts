import fc from 'fast-check';
import { expect, test } from 'vitest';
import { neverAborted } from '../../../src/lib/abort.ts';
import { type Slice, Slices } from '../../../src/lib/concurrency.ts';
import { compareTags } from '../../../src/oci/tag-order.ts';
import { TagList } from '../../../src/pull/listings/tag-list.ts';

const slice = () => new Slices().begin();
const of = (tags: readonly string[]) => TagList.of(tags, slice(), neverAborted);
const read = (json: string) => TagList.read(Buffer.from(json), slice(), neverAborted);
const tagsOf = (list: TagList) => Array.from({ length: list.length }, (_, index) => list.at(index));
const inOrder = (tags: readonly string[]) => [...new Set(tags)].sort(compareTags);

const tag = fc.oneof(
  fc.stringMatching(/^[aAbBzZ_09][aAbBzZ_09.-]{0,3}$/),
  fc.stringMatching(/^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$/),
);

test('tags are in the order of listings, each once, however they come', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(tag, { maxLength: 30 }), async (tags) => {
      const list = await of(tags);
      expect(tagsOf(list)).toEqual(inOrder(tags));
      expect(JSON.parse(list.json.toString())).toEqual(inOrder(tags));
    }),
  );
});

test('a list is read as it was written, and in whatever order it was stored', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(tag, { maxLength: 30 }), fc.constantFrom(0, 1), async (tags, indent) => {
      expect(tagsOf(await read(JSON.stringify(inOrder(tags), undefined, indent)))).toEqual(inOrder(tags));
      expect(tagsOf(await read(JSON.stringify(tags, undefined, indent)))).toEqual(inOrder(tags));
    }),
  );
});

test('a list that is written as ours are is not copied', async () => {
  const json = (await of(['b', 'a', 'B', 'v10'])).json;
  expect((await TagList.read(json, slice(), neverAborted)).json).toBe(json);
});

test('the longest tags are kept whole, however many there are', async () => {
  const longest = Array.from({ length: 300 }, (_, index) => `${index}`.padStart(4, '0').padEnd(128, 'x'));
  const list = await of(longest);
  expect(tagsOf(list)).toEqual(longest);
  expect(JSON.parse(list.json.toString())).toEqual(longest);
});

test('what no tag can be is left out, and what is no list has none', async () => {
  const odd = ['ok', '', '.a', '-a', 'a b', 'a"b', 'a\\b', 'a,b', 'é', 'a\u0000b', 'x'.repeat(129), 'OK'];
  expect(tagsOf(await of(odd))).toEqual(['OK', 'ok']);
  expect(tagsOf(await read(JSON.stringify([...odd, 1, null, ['x']])))).toEqual(['OK', 'ok']);
  for (const json of ['{}', 'null', '"a"', '[]', ' [ ] ']) expect(tagsOf(await read(json))).toEqual([]);
  for (const json of ['', '[', '["a"', '["a",]', '["a"]x', '["a""b"]']) {
    await expect(read(json), json).rejects.toThrow(SyntaxError);
  }
});

test('what comes after a text is found without looking at all tags', async () => {
  const text = fc.oneof(tag, fc.string());
  await fc.assert(
    fc.asyncProperty(fc.array(tag, { maxLength: 20 }), text, async (tags, last) => {
      const list = await of(tags);
      const expected = inOrder(tags).filter((each) => compareTags(each, last) > 0);
      expect(tagsOf(list).slice(list.after(last))).toEqual(expected);
    }),
  );
});

test('lists of many runs are sorted, and pause as often as their slice is over', async () => {
  let pauses = 0;
  const always: Slice = {
    over: true,
    pause: async () => {
      pauses += 1;
    },
  };
  const many = Array.from(
    { length: 7_001 },
    (_, index) => `${(index * 7_919) % 5_003}${index % 2 ? 'A' : 'a'}`,
  );
  const list = await TagList.of(many, always, neverAborted);
  expect(tagsOf(list)).toEqual(inOrder(many));
  // Nowhere are more than a thousand tags sorted, or 64 looked at, between two pauses.
  expect(pauses).toBeGreaterThan(7_001 / 64);
  expect(tagsOf(await TagList.read(list.json, always, neverAborted))).toEqual(inOrder(many));
});

test('a list that nobody waits for any more is not finished', async () => {
  const gone = new Error('the client went away');
  const slow: Slice = {
    over: true,
    pause: async () => {
      throw gone;
    },
  };
  await expect(TagList.of(['b', 'a'], slow, neverAborted)).rejects.toBe(gone);
  await expect(TagList.read(Buffer.from('["a","b"]'), slow, neverAborted)).rejects.toBe(gone);
});
