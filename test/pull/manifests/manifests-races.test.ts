import { expect, test } from 'vitest';
import { keyOf } from '../../../src/pull/repository.ts';
import type { ManifestHead, UpstreamResult } from '../../../src/upstream/result.ts';
import { makeGate } from '../../helpers/gate.ts';
import { mustTag } from '../../helpers/stored.ts';
import { bodyOf, headOf, refusals, type ScriptedUpstream, scriptedUpstream } from '../scripted-upstream.ts';
import { byDigest, expiredTag, fresh, manifestScene, old, tagTtl } from './manifest-scene.ts';

const tag = mustTag('v1');

/** A scene whose tag `v1` names `old`, and whose index has `fresh` as well; memory is empty. */
async function bothStored() {
  const upstream = scriptedUpstream({ getManifest: async () => bodyOf(old) });
  const scene = await manifestScene(upstream);
  await scene.pull();
  upstream.answers = { getManifest: async () => bodyOf(fresh) };
  await scene.pull(byDigest(fresh));
  scene.restart();
  upstream.asked.length = 0;
  return { ...scene, upstream, key: keyOf(scene.target), scene };
}

/** Has the next HEAD answered with `result`, once the test says so. */
function holdHead(upstream: ScriptedUpstream, result: UpstreamResult<ManifestHead>) {
  const [asked, answered] = [makeGate(), makeGate()];
  upstream.answers = {
    headManifest: async () => {
      asked.open();
      await answered.opened;
      return result;
    },
  };
  return { asked: asked.opened, answer: answered.open };
}

test('what was read of a tag before it was rolled back, and arrives after that, is not served on', async () => {
  const { scene, told, hold, clock, key } = await bothStored();
  const read = hold('tags.get', 'answer');
  const before = told();
  await read.reached;
  await scene.store.setTag(key, tag, { digest: fresh.digest, action: 'rolled back', at: clock.now() });
  read.release();
  expect(await before).toBe('hit old');
  expect(await told()).toBe('hit fresh');
});

test('what was read of a manifest before it was thrown away, and arrives after that, is not hot', async () => {
  const { scene, told, hold, hot, metadata } = await bothStored();
  const read = hold('manifests.get', 'answer');
  const before = told(byDigest(fresh));
  await read.reached;
  await metadata.manifests.drop(fresh.digest);
  scene.store.forget(fresh.digest);
  read.release();
  expect(await before).toBe('hit fresh');
  expect(hot(byDigest(fresh))).toBeUndefined();
});

test('a manifest that is thrown away while it is being recorded again is not hot', async () => {
  const upstream = scriptedUpstream({ getManifest: async () => bodyOf(old) });
  const scene = await manifestScene(upstream);
  const put = scene.hold('manifests.put', 'answer');
  const pulled = scene.told(byDigest(old));
  await put.reached;
  await scene.metadata.manifests.drop(old.digest);
  scene.store.forget(old.digest);
  put.release();
  expect(await pulled).toBe('miss old');
  expect(scene.hot(byDigest(old))).toBeUndefined();
});

test.each(['tags.get', 'manifests.get'])(
  'a client whose look at %s comes back after others had the tag confirmed does not ask again',
  async (call) => {
    const { told, restart, upstream, hold } = await expiredTag();
    upstream.answers = { headManifest: async () => headOf(old) };
    restart();
    const read = hold(call, 'answer');
    const slow = told();
    await read.reached;
    expect(await told()).toBe('revalidated old');
    read.release();
    expect(await slow).toBe('hit old');
    expect(upstream.asked).toEqual(['headManifest']);
  },
);

test('a client whose look for a cold tag comes back after others fetched it does not fetch it again', async () => {
  const upstream = scriptedUpstream({ getManifest: async () => bodyOf(old) });
  const { told, hold } = await manifestScene(upstream);
  const read = hold('tags.get', 'answer');
  const slow = told();
  await read.reached;
  expect(await told()).toBe('miss old');
  read.release();
  expect(await slow).toBe('hit old');
  expect(upstream.asked).toEqual(['getManifest']);
});

test('a client whose look for a digest comes back after others fetched it does not fetch it again', async () => {
  const upstream = scriptedUpstream({ getManifest: async () => bodyOf(old) });
  const { told, hold } = await manifestScene(upstream);
  const read = hold('manifests.get', 'answer');
  const slow = told(byDigest(old));
  await read.reached;
  expect(await told(byDigest(old))).toBe('miss old');
  read.release();
  expect(await slow).toBe('hit old');
  expect(upstream.asked).toEqual(['getManifest']);
});

test('a tag that is carried in while upstream is asked for the old one stays, though that is gone', async () => {
  const { scene, upstream, told, clock, key, metadata } = await bothStored();
  clock.advance(tagTtl);
  const { asked, answer } = holdHead(upstream, refusals.missing);
  const refreshed = told();
  await asked;
  await scene.carryIn(fresh);
  answer();
  expect(await refreshed).toBe('MANIFEST_UNKNOWN');
  expect(await metadata.tags.get(key, tag)).toMatchObject({ digest: fresh.digest });
  expect(await told()).toBe('hit fresh');
});

test('a tag that is rolled back while its new manifest is fetched stays rolled back', async () => {
  const { scene, upstream, told, clock, key, metadata } = await bothStored();
  clock.advance(tagTtl);
  const [asked, answered] = [makeGate(), makeGate()];
  upstream.answers = {
    headManifest: async () => headOf(fresh),
    getManifest: async () => {
      asked.open();
      await answered.opened;
      return bodyOf(fresh);
    },
  };
  const refreshed = told();
  await asked.opened;
  await scene.store.setTag(key, tag, { digest: old.digest, action: 'rolled back', at: clock.now() });
  answered.open();
  expect(await refreshed).toBe('miss fresh');
  expect(await metadata.tags.get(key, tag)).toMatchObject({
    digest: old.digest,
    pinned: true,
    candidate: { digest: fresh.digest },
  });
  expect(await told()).toBe('hit old');
  // Whoever was given the new one may fetch what is in it.
  const steps = await metadata.links.stepsUp(key, [{ digest: fresh.digest }], { current: false });
  expect(steps).toMatchObject([{ tags: [tag] }]);
});

test('a tag that is released while upstream is looked at is asked for at the next pull', async () => {
  const { scene, upstream, told, clock, key } = await bothStored();
  await scene.store.setTag(key, tag, { digest: fresh.digest, action: 'rolled back', at: clock.now() });
  clock.advance(tagTtl);
  const { asked, answer } = holdHead(upstream, headOf(old));
  expect(await told()).toBe('hit fresh');
  await asked;
  await scene.store.releaseTag(key, tag, clock.now());
  const noted = scene.hold('tags.observe', 'answer');
  answer();
  await noted.reached;
  noted.release();
  upstream.answers = { headManifest: async () => headOf(old), getManifest: async () => bodyOf(old) };
  expect(await told()).toBe('miss old');
});

test('what upstream said of the old tag does not confirm one that was carried in meanwhile', async () => {
  const { scene, upstream, told, clock, key, metadata } = await bothStored();
  clock.advance(tagTtl);
  const { asked, answer } = holdHead(upstream, headOf(old));
  const refreshed = told();
  await asked;
  const carriedIn = clock.now();
  await scene.carryIn(fresh);
  clock.advance(1_000);
  answer();
  expect(await refreshed).toBe('revalidated old');
  expect(await metadata.tags.get(key, tag)).toMatchObject({
    digest: fresh.digest,
    checkedAt: carriedIn,
    candidate: { digest: old.digest },
  });
});
