import { expect, onTestFinished, test } from 'vitest';
import { neverAborted } from '../../../src/lib/abort.ts';
import { Slices } from '../../../src/lib/concurrency.ts';
import { OciError } from '../../../src/oci/errors.ts';
import { mediaTypes } from '../../../src/oci/media-types.ts';
import { ShownTags } from '../../../src/pull/admission/shown-tags.ts';
import { PullListings } from '../../../src/pull/listings/listings.ts';
import { keyOf } from '../../../src/pull/repository.ts';
import { SqliteMetadata } from '../../../src/store/sqlite/sqlite-metadata.ts';
import { metadataUnderTest } from '../../helpers/delayed-metadata.ts';
import { nobody } from '../../helpers/facts.ts';
import { makeGate } from '../../helpers/gate.ts';
import { makeBlob } from '../../helpers/image.ts';
import { makeManualClock } from '../../helpers/manual-clock.ts';
import { temporaryDirectory } from '../../helpers/start-proxy.ts';
import { manifest, mustTag } from '../../helpers/stored.ts';
import { holdableMetadata } from '../../helpers/wrapped-metadata.ts';
import { ok, refusals, type ScriptedUpstream, scriptedUpstream, targetOf } from '../scripted-upstream.ts';

const { digest } = makeBlob('subject', 1);

async function scene(...upstreams: ScriptedUpstream[]) {
  const index = metadataUnderTest(SqliteMetadata.open(`${await temporaryDirectory()}/index.db`));
  const { metadata, hold } = holdableMetadata(index);
  const clock = makeManualClock();
  const room = new PullListings(
    { metadata, clock, slices: new Slices(), facts: nobody },
    { manifestSize: 1_000 },
  );
  onTestFinished(async () => {
    await room.close();
    await metadata.close();
  });
  const target = targetOf(upstreams);
  const tags = (page: { n?: number; last?: string } = {}, allows = (_tag: string) => true, from = target) =>
    new ShownTags({ listings: room, admission: { shown: () => allows } }).page(
      { target: from, signal: neverAborted },
      { n: page.n, last: page.last },
    );
  return {
    clock,
    metadata,
    hold,
    target,
    room,
    tags,
    referrers: (type?: string) =>
      room.referrers({ target, reference: { kind: 'digest', digest }, signal: neverAborted }, type),
    /** How a listing of tags came out. */
    async told(): Promise<string> {
      try {
        const { outcome, tags: found } = await tags();
        return `${outcome} ${found.join()}`;
      } catch (error) {
        if (error instanceof OciError) return error.code;
        throw error;
      }
    },
  };
}

test('tags come sorted, once each, in the pages that are asked for', async () => {
  const upstream = scriptedUpstream({ listTags: async () => ok(['v2', 'a', 'v10', 'B', 'a']) });
  const { tags } = await scene(upstream);
  const how = (outcome: string) => ({ outcome, staleBecause: undefined });
  expect(await tags()).toEqual({ tags: ['a', 'B', 'v10', 'v2'], more: false, ...how('miss') });
  expect(await tags({ n: 2 })).toEqual({ tags: ['a', 'B'], more: true, ...how('hit') });
  expect(await tags({ n: 2, last: 'B' })).toMatchObject({ tags: ['v10', 'v2'], more: false });
  expect(await tags({ last: 'aa' })).toMatchObject({ tags: ['B', 'v10', 'v2'], more: false });
  expect(await tags({ last: 'z' })).toMatchObject({ tags: [], more: false });
  expect(await tags({ n: 0 })).toMatchObject({ tags: [], more: false });
  expect(upstream.asked).toEqual(['listTags']);
});

test('a listing that was stored in another order is paged in the same one', async () => {
  const { tags, metadata, target, clock } = await scene(scriptedUpstream());
  const body = Buffer.from(JSON.stringify(['B', 'V2', '_x', 'a', 'c', 'v1', 'v10']));
  await metadata.listings.put(keyOf(target), 'tags', {
    body,
    mediaType: 'application/json',
    checkedAt: clock.now(),
  });
  expect((await tags()).tags).toEqual(['_x', 'a', 'B', 'c', 'v1', 'v10', 'V2']);
  expect(await tags({ n: 3, last: 'a' })).toMatchObject({ tags: ['B', 'c', 'v1'], more: true });
});

test('what is listed without upstreams is in the same order', async () => {
  const { tags, metadata, target } = await scene(scriptedUpstream());
  const offline = { ...target, registry: { ...target.registry, source: { kind: 'offline' } as const } };
  for (const tag of ['V2', 'v10', 'B', 'a', 'b']) {
    const found = { tag: mustTag(tag), upstream: 'up', at: 1 };
    await metadata.manifests.put(keyOf(target), manifest('m'), [], found);
  }
  const page = (last?: string) => tags({ n: 3, ...(last && { last }) }, () => true, offline);
  expect(await page()).toMatchObject({ tags: ['a', 'B', 'b'], more: true });
  expect(await page('b')).toMatchObject({ tags: ['v10', 'V2'], more: false });
});

test('tags that policy denies are left out, and pages are counted without them', async () => {
  const upstream = scriptedUpstream({ listTags: async () => ok(['a', 'b-nightly', 'c', 'd']) });
  const { tags } = await scene(upstream);
  const page = await tags({ n: 2 }, (tag) => !tag.endsWith('-nightly'));
  expect(page).toMatchObject({ tags: ['a', 'c'], more: true });
});

test('a page is bounded, whatever a client names', async () => {
  const many = Array.from({ length: 10_001 }, (_, index) => `t${index}`);
  const { tags } = await scene(scriptedUpstream({ listTags: async () => ok(many) }));
  const page = await tags({ n: 999_999_999 });
  expect(page.tags).toHaveLength(10_000);
  expect(page.more).toBe(true);
});

test('a listing is kept while it is fresh, then asked for again', async () => {
  const upstream = scriptedUpstream({ listTags: async () => ok(['a']) });
  const { told, clock } = await scene(upstream);
  expect(await told()).toBe('miss a');
  clock.advance(59_999);
  expect(await told()).toBe('hit a');
  clock.advance(1);
  upstream.answers = { listTags: async () => ok(['b']) };
  expect(await told()).toBe('miss b');
});

test.each([
  ['unavailable', 'up: it refuses connections'],
  ['limited', 'up limits the rate of requests'],
] as const)(
  'an old listing is served stale when upstream is %s, without asking each time, and says why',
  async (kind, why) => {
    const upstream = scriptedUpstream({ listTags: async () => ok(['a']) });
    const { told, tags, clock } = await scene(upstream);
    await told();
    clock.advance(60_000);
    upstream.answers = { listTags: async () => refusals[kind] };
    expect([await told(), await told()]).toEqual(['stale a', 'stale a']);
    expect(upstream.asked).toHaveLength(2);
    expect((await tags()).staleBecause).toBe(why);
  },
);

test.each([
  ['denied', 'DENIED'],
  ['missing', 'NAME_UNKNOWN'],
] as const)(
  'an old listing is not served when upstream says %s, the second time as the first',
  async (kind, code) => {
    const upstream = scriptedUpstream({ listTags: async () => ok(['a']) });
    const { told, clock } = await scene(upstream);
    await told();
    clock.advance(60_000);
    upstream.answers = { listTags: async () => refusals[kind] };
    expect([await told(), await told()]).toEqual([code, code]);
  },
);

test('a listing that is gone is not served stale later, when upstream is down', async () => {
  const upstream = scriptedUpstream({ listTags: async () => ok(['a']) });
  const { told, clock } = await scene(upstream);
  await told();
  clock.advance(60_000);
  upstream.answers = { listTags: async () => refusals.missing };
  await told();
  clock.advance(60_000);
  upstream.answers = { listTags: async () => refusals.unavailable };
  expect(await told()).toBe('UNAVAILABLE');
});

test('one whose look for a list comes back after others fetched it does not fetch it again', async () => {
  const list = { bytes: Buffer.from('{}'), mediaType: mediaTypes.ociIndex, filtersApplied: undefined };
  const upstream = scriptedUpstream({
    listTags: async () => ok(['a']),
    listReferrers: async () => ok(list),
  });
  const { told, referrers, hold, clock } = await scene(upstream);
  const outcome = async () => (await referrers()).outcome;
  // Tags that were fetched are in memory: only the first look for them goes to the index.
  for (const [ask, first, second] of [
    [told, 'miss a', 'hit a'],
    [outcome, 'miss', 'hit'],
    [outcome, 'miss', 'hit'],
  ] as const) {
    const read = hold('listings.get', 'answer');
    const slow = ask();
    await read.reached;
    expect(await ask()).toBe(first);
    read.release();
    expect(await slow).toBe(second);
    clock.advance(60_000);
  }
  expect(upstream.asked).toEqual(['listTags', 'listReferrers', 'listReferrers']);
});

test('those who come meanwhile join', async () => {
  const gate = makeGate();
  const upstream = scriptedUpstream({
    listTags: async () => {
      await gate.opened;
      return ok(['a']);
    },
  });
  const { told } = await scene(upstream);
  const all = Promise.all([told(), told()]);
  gate.open();
  expect(await all).toEqual(['miss a', 'joined a']);
  expect(upstream.asked).toEqual(['listTags']);
});

test('only upstreams that may say what a tag means are asked for tags', async () => {
  const mirror = scriptedUpstream({}, 'mirror', { tags: false });
  const origin = scriptedUpstream({ listTags: async () => ok(['a']) }, 'origin');
  const { told } = await scene(mirror, origin);
  expect(await told()).toBe('miss a');
  expect(mirror.asked).toEqual([]);
});

test('referrers come as the upstream sent them, kept apart by filter, and the filter is told again from the cache', async () => {
  const upstream = scriptedUpstream({
    listReferrers: async (_repository, _digest, type) =>
      ok({
        bytes: Buffer.from(type ?? 'all'),
        mediaType: mediaTypes.ociIndex,
        filtersApplied: type && 'artifactType',
      }),
  });
  const { referrers } = await scene(upstream);
  for (const outcome of ['miss', 'hit']) {
    expect(await referrers()).toEqual({
      body: Buffer.from('all'),
      mediaType: mediaTypes.ociIndex,
      filtersApplied: undefined,
      outcome,
      staleBecause: undefined,
    });
    expect(await referrers('application/x')).toEqual({
      body: Buffer.from('application/x'),
      mediaType: mediaTypes.ociIndex,
      filtersApplied: 'artifactType',
      outcome,
      staleBecause: undefined,
    });
  }
  expect(upstream.asked).toHaveLength(2);
});

test('referrers that are stale say why', async () => {
  const list = { bytes: Buffer.from('{}'), mediaType: mediaTypes.ociIndex, filtersApplied: undefined };
  const upstream = scriptedUpstream({ listReferrers: async () => ok(list) });
  const { referrers, clock } = await scene(upstream);
  await referrers();
  clock.advance(60_000);
  upstream.answers = { listReferrers: async () => refusals.unavailable };
  const answer = await referrers();
  expect(answer).toMatchObject({ outcome: 'stale', staleBecause: 'up: it refuses connections' });
});

test('without the referrers API the error is one upon which clients ask for the fallback tag, and names it', async () => {
  const { referrers } = await scene(scriptedUpstream({ listReferrers: async () => refusals.missing }));
  for (const _ of [1, 2]) {
    const failure: unknown = await referrers().catch((error: unknown) => error);
    // oras takes NAME_UNKNOWN for the end of the search.
    expect(failure).toMatchObject({ code: 'MANIFEST_UNKNOWN' });
    expect(String(failure)).toContain(digest.replace(':', '-'));
  }
});
