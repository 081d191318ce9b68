import { expect, test } from 'vitest';
import { makeGate } from '../../helpers/gate.ts';
import { bodyOf, headOf, refusals, scriptedUpstream } from '../scripted-upstream.ts';
import { byDigest, expiredTag, fresh, manifestScene, old, tagTtl, v1 } from './manifest-scene.ts';

test('a cold tag is one GET, and then served from memory for as long as it is fresh', async () => {
  const upstream = scriptedUpstream({ getManifest: async () => bodyOf(old) });
  const { told, clock, hot } = await manifestScene(upstream);
  expect(hot(v1)).toBeUndefined();
  expect(await told()).toBe('miss old');
  expect(await told()).toBe('hit old');
  clock.advance(tagTtl - 1);
  expect(await told()).toBe('hit old');
  expect(hot(v1)).toMatchObject({ outcome: 'hit' });
  expect(hot(byDigest(old))).toMatchObject({ outcome: 'hit' });
  expect(upstream.asked).toEqual(['getManifest']);
});

test('after a restart a fresh tag is served from the index', async () => {
  const upstream = scriptedUpstream({ getManifest: async () => bodyOf(old) });
  const { told, restart } = await manifestScene(upstream);
  await told();
  restart();
  expect(await told()).toBe('hit old');
  expect(upstream.asked).toEqual(['getManifest']);
});

test('an expired tag is one HEAD, and fresh again when the digest is the same', async () => {
  const { told, clock, upstream, hot } = await expiredTag();
  upstream.answers = { headManifest: async () => headOf(old) };
  expect(hot(v1)).toBeUndefined();
  expect(await told()).toBe('revalidated old');
  clock.advance(tagTtl - 1);
  expect(await told()).toBe('hit old');
  expect(upstream.asked).toEqual(['headManifest']);
});

test('a tag that moved is fetched, and the digest that it named still serves', async () => {
  const { told, upstream } = await expiredTag();
  upstream.answers = { headManifest: async () => headOf(fresh), getManifest: async () => bodyOf(fresh) };
  expect(await told()).toBe('miss fresh');
  expect(await told()).toBe('hit fresh');
  expect(await told(byDigest(old))).toBe('hit old');
  expect(upstream.asked).toEqual(['headManifest', 'getManifest']);
});

test('an upstream that names no digest on HEAD is asked for the manifest', async () => {
  const { told, upstream } = await expiredTag();
  upstream.answers = {
    headManifest: async () => ({
      kind: 'ok',
      value: { digest: undefined, mediaType: '', size: 1 },
      upstream: 'up',
    }),
    getManifest: async () => bodyOf(old),
  };
  expect(await told()).toBe('miss old');
});

test.each([
  ['unavailable', 'up: it refuses connections'],
  ['limited', 'up limits the rate of requests'],
] as const)(
  'an expired tag is served stale when upstream is %s, without asking again for a while, and says why',
  async (kind, why) => {
    const { told, pull, clock, upstream } = await expiredTag();
    upstream.answers = { headManifest: async () => refusals[kind] };
    const answer = await pull();
    expect(answer).toMatchObject({ outcome: 'stale', manifest: { digest: old.digest } });
    expect(answer.staleBecause).toBe(why);
    expect(await pull()).toMatchObject({ outcome: 'stale', staleBecause: why });
    expect(upstream.asked).toEqual(['headManifest']);
    clock.advance(10_000);
    upstream.answers = { headManifest: async () => headOf(old) };
    expect(await told()).toBe('revalidated old');
  },
);

test('a HEAD that works and a GET that does not is stale as well', async () => {
  const { pull, upstream } = await expiredTag();
  upstream.answers = {
    headManifest: async () => headOf(fresh),
    getManifest: async () => refusals.unavailable,
  };
  const why = 'up: it refuses connections';
  expect(await pull()).toMatchObject({
    outcome: 'stale',
    manifest: { digest: old.digest },
    staleBecause: why,
  });
});

test('an expired tag that upstream denies is refused, the second time as the first', async () => {
  const { told, clock, upstream } = await expiredTag();
  upstream.answers = { headManifest: async () => refusals.denied };
  expect(await told()).toBe('DENIED');
  expect(await told()).toBe('DENIED');
  clock.advance(9_999);
  expect(await told()).toBe('DENIED');
  expect(upstream.asked).toEqual(['headManifest']);
});

test('an expired tag that upstream denies on GET is refused, the second time as the first', async () => {
  const { told, upstream } = await expiredTag();
  upstream.answers = { headManifest: async () => headOf(fresh), getManifest: async () => refusals.denied };
  expect(await told()).toBe('DENIED');
  expect(await told()).toBe('DENIED');
});

test('an expired tag that is gone upstream is dropped, and its digest still serves', async () => {
  const { told, upstream, metadata, target } = await expiredTag();
  upstream.answers = { headManifest: async () => refusals.missing };
  expect(await told()).toBe('MANIFEST_UNKNOWN');
  expect(await told()).toBe('MANIFEST_UNKNOWN');
  expect(
    await metadata.tags.names({ registry: target.registry.name, repository: target.repository }),
  ).toEqual([]);
  expect(await told(byDigest(old))).toBe('hit old');
  expect(upstream.asked).toEqual(['headManifest']);
});

test('an upstream that does not confirm in time is not waited for, and its late answer counts', async () => {
  const { told, upstream } = await expiredTag();
  const late = makeGate();
  upstream.answers = {
    headManifest: async () => {
      await late.opened;
      return headOf(old);
    },
  };
  expect(await told()).toBe('stale old');
  // The next ones do not wait at all.
  expect(await told()).toBe('stale old');
  late.open();
  await new Promise(setImmediate);
  expect(await told()).toBe('hit old');
  expect(upstream.asked).toEqual(['headManifest']);
});

test('what all who wait for an expired tag get is one HEAD', async () => {
  const { told, upstream } = await expiredTag();
  const gate = makeGate();
  upstream.answers = {
    headManifest: async () => {
      await gate.opened;
      return headOf(old);
    },
  };
  const all = Promise.all([told(), told(), told()]);
  gate.open();
  expect(await all).toEqual(['revalidated old', 'revalidated old', 'revalidated old']);
  expect(upstream.asked).toEqual(['headManifest']);
});
