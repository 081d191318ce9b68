import fc from 'fast-check';
import { expect, test } from 'vitest';
import { neverAborted } from '../../../src/lib/abort.ts';
import { type Slice, Slices } from '../../../src/lib/concurrency.ts';
import { compareTags } from '../../../src/oci/tag-order.ts';
import { ShownTags } from '../../../src/pull/admission/shown-tags.ts';
import { TagList } from '../../../src/pull/listings/tag-list.ts';
import { targetOf } from '../scripted-upstream.ts';

const ask = { target: targetOf([]), signal: neverAborted };

/** What a page is, in the simplest words. */
function pageOf(
  listed: readonly string[],
  { n = 10_000, last }: { n?: number | undefined; last?: string | undefined },
  allows: (tag: string) => boolean,
) {
  const behind = [...new Set(listed)].filter((tag) => last === undefined || compareTags(tag, last) > 0);
  const after = behind.filter(allows).sort(compareTags);
  const tags = after.slice(0, Math.min(n, 10_000));
  return { tags, more: tags.length > 0 && tags.length < after.length };
}

/** Pages of a list, and what was judged for them. */
function shownTags(list: TagList, allows: 'all' | ((tag: string) => boolean), slice = new Slices().begin()) {
  const judged: string[] = [];
  const shown =
    allows === 'all'
      ? 'all'
      : (tag: string) => {
          judged.push(tag);
          return allows(tag);
        };
  const world = { list };
  const pages = new ShownTags({
    listings: {
      tags: async (_ask, read) => {
        return { value: await read(world.list, slice), outcome: 'hit', staleBecause: undefined };
      },
    },
    admission: { shown: () => shown },
  });
  return {
    world,
    judged,
    async page(n?: number, last?: string) {
      const { tags, more } = await pages.page(ask, { n, last });
      return { tags, more };
    },
    all: async () => (await pages.all(ask)).tags,
  };
}

function listOf(tags: readonly string[]): Promise<TagList> {
  return TagList.of(tags, new Slices().begin(), neverAborted);
}

const tag = fc.stringMatching(/^[aAbB_1][aAbB_1.-]{0,2}$/);
const allowed = (name: string) => !name.endsWith('-');
const text = fc.oneof(tag, fc.string(), fc.constantFrom('', 'z', '\u{1f600}', '\u0130', 'AB'));

test('a page is what the simple definition says, whatever was judged before', async () => {
  const asked = fc.array(
    fc.record({
      n: fc.option(fc.integer({ min: 0, max: 5 }), { nil: undefined }),
      last: fc.option(text, { nil: undefined }),
    }),
    { minLength: 1, maxLength: 4 },
  );
  await fc.assert(
    fc.asyncProperty(fc.array(tag, { maxLength: 12 }), asked, fc.boolean(), async (listed, pages, all) => {
      const allows = all ? () => true : allowed;
      const { page } = shownTags(await listOf(listed), all ? 'all' : allows);
      for (const { n, last } of pages)
        expect(await page(n, last)).toEqual(pageOf(listed, { n, last }, allows));
    }),
  );
});

test('whoever follows the pages gets every tag that is shown once, however long the pages are', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.uniqueArray(tag, { maxLength: 12 }),
      fc.integer({ min: 1, max: 5 }),
      async (listed, n) => {
        const { page, all } = shownTags(await listOf(listed), allowed);
        const found: string[] = [];
        for (let more = true; more; ) {
          const next = await page(n, found.at(-1));
          expect(next.tags.length).toBeLessThanOrEqual(n);
          found.push(...next.tags);
          more = next.more;
        }
        expect(found).toEqual((await page()).tags);
        expect(found).toEqual(await all());
        expect(found.toSorted()).toEqual(listed.filter(allowed).toSorted());
      },
    ),
  );
});

test('a page after a tag that is not there begins where that would stand', async () => {
  const list = await listOf(['V2', 'a', 'b', 'B']);
  const after = (last: string) => shownTags(list, 'all').page(1, last);
  expect(await after('AA')).toEqual({ tags: ['B'], more: true });
  expect(await after('c')).toEqual({ tags: ['V2'], more: false });
  expect(await after('v2')).toEqual({ tags: [], more: false });
});

test('all tags are listed where a page would be too long', async () => {
  const many = Array.from({ length: 10_001 }, (_, index) => `t${index}`);
  const { page, all } = shownTags(await listOf(many), 'all');
  expect(await page()).toMatchObject({ tags: { length: 10_000 }, more: true });
  expect(await all()).toHaveLength(10_001);
});

test('each tag is judged once, and only as far as a page needs it, until the list is another', async () => {
  const { world, judged, page } = shownTags(await listOf(['a', 'b-', 'c', 'd', 'e']), allowed);
  expect(await page(1)).toEqual({ tags: ['a'], more: true });
  expect(judged).toEqual(['a', 'b-', 'c']);
  expect(await page(2)).toEqual({ tags: ['a', 'c'], more: true });
  expect(await page(1, 'b')).toEqual({ tags: ['c'], more: true });
  expect(judged).toEqual(['a', 'b-', 'c', 'd']);
  expect(await page(0)).toEqual({ tags: [], more: false });
  world.list = await listOf(['b-', 'a']);
  expect(await page()).toEqual({ tags: ['a'], more: false });
  expect(judged.slice(4)).toEqual(['a', 'b-']);
});

test('where all tags are shown none is judged', async () => {
  const { judged, page } = shownTags(await listOf(['a', 'b']), 'all');
  expect(await page()).toEqual({ tags: ['a', 'b'], more: false });
  expect(judged).toEqual([]);
});

test('judging pauses as often as its slice is over, and ends when nobody waits any more', async () => {
  const gone = new Error('the client went away');
  let pauses = 0;
  const slice: Slice = {
    over: true,
    pause: async () => {
      pauses += 1;
      if (pauses === 5) throw gone;
    },
  };
  const many = Array.from({ length: 1_000 }, (_, index) => `t${index}-`);
  const { page, judged } = shownTags(await listOf(many), allowed, slice);
  await expect(page()).rejects.toBe(gone);
  expect(judged.length).toBeLessThan(200);
});
