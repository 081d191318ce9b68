import { setImmediate as turn } from 'node:timers/promises';
import { expect, onTestFinished, test } from 'vitest';
import { neverAborted } from '../../../src/lib/abort.ts';
import { Slices } from '../../../src/lib/concurrency.ts';
import type { TagList } from '../../../src/pull/listings/tag-list.ts';
import { TagLists } from '../../../src/pull/listings/tag-lists.ts';
import { keyOf, type ResolvedRepository } from '../../../src/pull/repository.ts';
import type { Metadata } from '../../../src/store/metadata.ts';
import { SqliteMetadata } from '../../../src/store/sqlite/sqlite-metadata.ts';
import { metadataUnderTest } from '../../helpers/delayed-metadata.ts';
import { makeGate } from '../../helpers/gate.ts';
import { makeManualClock } from '../../helpers/manual-clock.ts';
import { temporaryDirectory } from '../../helpers/start-proxy.ts';
import { manifest, mustTag } from '../../helpers/stored.ts';
import { ok, refusals, scriptedUpstream, targetOf } from '../scripted-upstream.ts';

/** More text than a list has that is read without waiting for others. */
const long = Array.from({ length: 6_000 }, (_, index) => `tag-${10_000 + index}`);

type ListTags = NonNullable<NonNullable<Parameters<typeof scriptedUpstream>[0]>['listTags']>;

async function scene(
  options: { memory?: number; listTags?: ListTags; around?: (inner: Metadata) => Metadata } = {},
) {
  const opened = SqliteMetadata.open(`${await temporaryDirectory()}/index.db`);
  const inner = metadataUnderTest(opened);
  const metadata = options.around?.(inner) ?? inner;
  const clock = makeManualClock();
  const lists = new TagLists(
    { metadata, clock, slices: new Slices() },
    { memory: options.memory ?? 32 * 1024 * 1024 },
  );
  onTestFinished(async () => {
    await lists.close();
    await inner.close();
  });
  const upstream = scriptedUpstream({ listTags: options.listTags ?? (async () => ok(['b', 'a'])) });
  const target = (repository = 'org/app') => targetOf([upstream], { repository });
  const offline = (repository = 'org/app'): ResolvedRepository => {
    const { registry, ...rest } = target(repository);
    return { ...rest, registry: { ...registry, source: { kind: 'offline' } } };
  };
  const read = <T>(
    from: ResolvedRepository,
    reader: (list: TagList) => T | Promise<T>,
    signal = neverAborted,
  ) => lists.read({ target: from, signal }, reader);
  return {
    lists,
    metadata: inner,
    clock,
    upstream,
    target,
    offline,
    read,
    /** The list itself, which a reader must not keep. */
    list: async (from = target()) => (await read(from, (list) => list)).value,
    tags: async (from = target()) => (await read(from, tagsOf)).value,
    async store(tag: string) {
      const found = { tag: mustTag(tag), upstream: 'up', at: 1 };
      await inner.manifests.put(keyOf(target()), manifest('m'), [], found);
    },
  };
}

function tagsOf(list: TagList): string[] {
  return Array.from({ length: list.length }, (_, index) => list.at(index));
}

test('a list is the same one as long as an upstream says the same, and another when it says something else', async () => {
  const { list, clock, upstream } = await scene();
  const first = await list();
  clock.advance(60_000);
  expect(await list()).toBe(first);
  clock.advance(60_000);
  upstream.answers = { listTags: async () => ok(['a', 'c']) };
  const other = await list();
  expect(tagsOf(other)).toEqual(['a', 'c']);
  expect(await list()).toBe(other);
  expect(upstream.asked).toHaveLength(3);
});

test('what does not fit into memory is read from the index again, without asking upstream', async () => {
  const { list, target, upstream } = await scene({ memory: 200_000, listTags: async () => ok(long) });
  const first = await list(target('org/one'));
  expect(await list(target('org/one'))).toBe(first);
  await list(target('org/two'));
  const again = await list(target('org/one'));
  expect(again).not.toBe(first);
  expect(tagsOf(again)).toEqual(tagsOf(first));
  expect(upstream.asked).toHaveLength(2);
});

test('of a hundred long lists few are fetched, and few read, at once', async () => {
  const most = { fetching: 0, reading: 0 };
  const now = { fetching: 0, reading: 0 };
  const during = async <T>(what: 'fetching' | 'reading', value: T) => {
    now[what] += 1;
    most[what] = Math.max(most[what], now[what]);
    for (let turns = 0; turns < 20; turns += 1) await turn();
    now[what] -= 1;
    return value;
  };
  const { read, target } = await scene({ listTags: async () => during('fetching', ok(long)) });
  const repositories = Array.from({ length: 100 }, (_, index) => target(`org/app${index}`));
  const lengths = await Promise.all(
    repositories.map(async (from) => (await read(from, (list) => during('reading', list.length))).value),
  );
  expect(new Set(lengths)).toEqual(new Set([long.length]));
  expect(most).toEqual({ fetching: 8, reading: 4 });
});

test('one registry that is slow to list does not hold up another', async () => {
  const gate = makeGate();
  const slow = scriptedUpstream({
    listTags: async () => {
      await gate.opened;
      return ok(['a']);
    },
  });
  const { tags, target } = await scene();
  const slowTarget = (index: number) => targetOf([slow], { name: 'slow.io', repository: `org/app${index}` });
  const waiting = Promise.all(Array.from({ length: 20 }, (_, index) => tags(slowTarget(index))));
  expect(await tags(target())).toEqual(['a', 'b']);
  gate.open();
  expect((await waiting).flat()).toHaveLength(20);
});

test('a short list is read while long ones are, and who waits for them may leave', async () => {
  const gate = makeGate();
  const { read, tags, target, upstream } = await scene({ listTags: async () => ok(long) });
  let readers = 0;
  const reading = Array.from({ length: 4 }, (_, index) =>
    read(target(`org/long${index}`), async () => {
      readers += 1;
      await gate.opened;
    }),
  );
  while (readers < 4) await turn();
  const leaver = new AbortController();
  let begun = false;
  const left = read(
    target('org/other'),
    () => {
      begun = true;
    },
    leaver.signal,
  );
  while (upstream.asked.length < 5) await turn();
  upstream.answers = { listTags: async () => ok(['a']) };
  expect(await tags(target('org/short'))).toEqual(['a']);
  expect(begun).toBe(false);
  leaver.abort(new Error('the client went away'));
  await expect(left).rejects.toThrow('went away');
  gate.open();
  await Promise.all(reading);
  expect(begun).toBe(false);
});

test('a reader that fails gives its place back', async () => {
  const { read, target } = await scene({ listTags: async () => ok(long) });
  const failing = () => {
    throw new Error('a defect');
  };
  for (let index = 0; index < 6; index += 1)
    await expect(read(target(), failing)).rejects.toThrow('a defect');
  expect((await read(target(), (list) => list.length)).value).toBe(long.length);
});

test('a list that upstream says is gone is forgotten in memory and in the index', async () => {
  const { tags, clock, upstream, metadata, target } = await scene();
  await tags();
  clock.advance(60_000);
  upstream.answers = { listTags: async () => refusals.missing };
  await expect(tags()).rejects.toMatchObject({ code: 'NAME_UNKNOWN' });
  expect(await metadata.listings.get(keyOf(target()), 'tags')).toBeUndefined();
  clock.advance(60_000);
  upstream.answers = { listTags: async () => refusals.unavailable };
  await expect(tags()).rejects.toMatchObject({ code: 'UNAVAILABLE' });
});

test('where no upstream is asked, what is stored is listed, in several pages of the index, until it changes', async () => {
  const { list, lists, metadata, offline, store, target, upstream } = await scene();
  await expect(list(offline())).rejects.toMatchObject({ code: 'NAME_UNKNOWN' });
  const many = Array.from({ length: 2_001 }, (_, index) => `t${index}`);
  for (const tag of many) await store(tag);
  const first = await list(offline());
  expect(first.length).toBe(2_001);
  await store('new');
  expect(await list(offline())).toBe(first);
  lists.forget(keyOf(target('org/other')));
  expect(await list(offline())).toBe(first);
  lists.forget(keyOf(target()));
  expect((await list(offline())).length).toBe(2_002);
  await metadata.tags.drop(keyOf(target()), mustTag('new'));
  lists.forget(keyOf(target()));
  expect((await list(offline())).length).toBe(2_001);
  expect(upstream.asked).toEqual([]);
});

test('what was read of the stored tags before they changed is not remembered after', async () => {
  const gate = makeGate();
  const begun = makeGate();
  const { list, lists, offline, store, target } = await scene({
    around: (inner) => ({
      ...inner,
      tags: new Proxy(inner.tags, {
        get: (tags, name) => {
          if (name !== 'names') return Reflect.get(tags, name, tags);
          return async (...given: Parameters<typeof tags.names>) => {
            const names = await tags.names(...given);
            begun.open();
            await gate.opened;
            return names;
          };
        },
      }),
    }),
  });
  await store('a');
  const early = list(offline());
  await begun.opened;
  await store('b');
  lists.forget(keyOf(target()));
  gate.open();
  expect(tagsOf(await early)).toEqual(['a']);
  expect(tagsOf(await list(offline()))).toEqual(['a', 'b']);
});
