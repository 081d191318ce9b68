import { expect, test } from 'vitest';
import { mediaTypes } from '../../../src/oci/media-types.ts';
import { PullManifests } from '../../../src/pull/manifests/manifests.ts';
import { ManifestStore } from '../../../src/pull/manifests/store.ts';
import { UpstreamError } from '../../../src/upstream/result.ts';
import { captureLog } from '../../helpers/capture-log.ts';
import { nobody } from '../../helpers/facts.ts';
import { makeGate } from '../../helpers/gate.ts';
import { blobOf, makeIndex, manifestOf } from '../../helpers/image.ts';
import { makeManualClock } from '../../helpers/manual-clock.ts';
import { bodyOf, refusals, scriptedUpstream, targetOf } from '../scripted-upstream.ts';
import { byDigest, fresh, manifestScene, old, v1 } from './manifest-scene.ts';

test('those who come while a cold manifest is fetched join, and a failure is told to all of them', async () => {
  const gate = makeGate();
  const upstream = scriptedUpstream({
    getManifest: async () => {
      await gate.opened;
      return bodyOf(old);
    },
  });
  const { told } = await manifestScene(upstream);
  const all = Promise.all([told(), told(), told()]);
  gate.open();
  expect(await all).toEqual(['miss old', 'joined old', 'joined old']);
  upstream.answers = { getManifest: async () => refusals.missing };
  expect(await Promise.all([told(byDigest(fresh)), told(byDigest(fresh))])).toEqual([
    'MANIFEST_UNKNOWN',
    'MANIFEST_UNKNOWN',
  ]);
  expect(upstream.asked).toEqual(['getManifest', 'getManifest']);
});

test('what is not there is remembered for a while', async () => {
  const upstream = scriptedUpstream({ getManifest: async () => refusals.missing });
  const { told, clock } = await manifestScene(upstream);
  expect([await told(), await told()]).toEqual(['MANIFEST_UNKNOWN', 'MANIFEST_UNKNOWN']);
  expect(upstream.asked).toHaveLength(1);
  clock.advance(10_000);
  upstream.answers = { getManifest: async () => bodyOf(old) };
  expect(await told()).toBe('miss old');
});

test('an upstream that fails at once is tried a second time before the client is told', async () => {
  const answers = [refusals.unavailable, bodyOf(old)];
  const upstream = scriptedUpstream({ getManifest: async () => answers.shift() ?? refusals.unavailable });
  const { told } = await manifestScene(upstream);
  expect(await told()).toBe('miss old');
  expect(upstream.asked).toHaveLength(2);
});

test('tags are asked only of the upstreams that may say what a tag means, digests of all in order', async () => {
  const mirror = scriptedUpstream({ getManifest: async () => bodyOf(fresh) }, 'mirror', { tags: false });
  const origin = scriptedUpstream({ getManifest: async () => bodyOf(old) }, 'origin');
  const { told } = await manifestScene(mirror, origin);
  expect(await told()).toBe('miss old');
  expect([mirror.asked, origin.asked]).toEqual([[], ['getManifest']]);
  expect(await told(byDigest(fresh))).toBe('miss fresh');
  expect([mirror.asked, origin.asked]).toEqual([['getManifest'], ['getManifest']]);
});

test('a manifest whose digest is not the one asked for is not kept, and the next upstream is asked', async () => {
  const forger = scriptedUpstream(
    { getManifest: async () => bodyOf({ ...old, digest: fresh.digest }) },
    'forger',
  );
  const origin = scriptedUpstream({ getManifest: async () => bodyOf(fresh) }, 'origin');
  const { told } = await manifestScene(forger, origin);
  expect(await told(byDigest(fresh))).toBe('miss fresh');
  expect([forger.asked, origin.asked]).toEqual([['getManifest'], ['getManifest']]);
});

test('when every upstream forges, the client is told that it is down, not given the forgery', async () => {
  const forger = scriptedUpstream({ getManifest: async () => bodyOf({ ...old, digest: fresh.digest }) });
  const { told, hot } = await manifestScene(forger);
  expect(await told(byDigest(fresh))).toBe('UNAVAILABLE');
  expect(hot(byDigest(fresh))).toBeUndefined();
  expect(hot(byDigest(old))).toBeUndefined();
});

test('a header that lies about the digest of a tag changes nothing: the digest is computed', async () => {
  const upstream = scriptedUpstream({ getManifest: async () => bodyOf({ ...old, digest: fresh.digest }) });
  const { told } = await manifestScene(upstream);
  expect(await told()).toBe('miss old');
});

test('a digest that another repository pulled is asked of upstream before it is served', async () => {
  const upstream = scriptedUpstream({ getManifest: async () => bodyOf(old) });
  const { told } = await manifestScene(upstream);
  await told();
  upstream.answers = { getManifest: async () => refusals.missing };
  const other = targetOf([upstream], { repository: 'org/other' });
  expect(await told(byDigest(old), other)).toBe('MANIFEST_UNKNOWN');
  const namesake = targetOf([upstream], { name: 'docker.io' });
  expect(await told(byDigest(old), namesake)).toBe('MANIFEST_UNKNOWN');
});

test('the children of an index are linked, and so served without a second leave', async () => {
  const index = makeIndex();
  const upstream = scriptedUpstream({ getManifest: async () => bodyOf(index.manifest) });
  const { pull, metadata, target } = await manifestScene(upstream);
  await pull();
  const key = { registry: target.registry.name, repository: target.repository };
  for (const child of index.images) {
    expect(await metadata.links.get(key, child.manifest.digest)).toMatchObject({
      size: child.manifest.bytes.length,
    });
  }
});

test('what cannot be parsed as what it was served as is refused and not kept', async () => {
  const both = manifestOf(
    { schemaVersion: 2, manifests: [], layers: [], config: {} },
    mediaTypes.ociManifest,
  );
  for (const manifest of [both, blobOf(Buffer.from('<html>'), mediaTypes.ociManifest)]) {
    const upstream = scriptedUpstream({ getManifest: async () => bodyOf(manifest) });
    const { told, hot } = await manifestScene(upstream);
    expect(await told()).toBe('MANIFEST_INVALID');
    expect(hot(byDigest(manifest))).toBeUndefined();
  }
});

test('a client that leaves is told so at once, and the fetch goes on for the others', async () => {
  const gate = makeGate();
  const upstream = scriptedUpstream({
    getManifest: async () => {
      await gate.opened;
      return bodyOf(old);
    },
  });
  const { target, told, metadata } = await manifestScene(upstream);
  const { log } = captureLog();
  const room = new PullManifests(
    {
      store: new ManifestStore({ metadata, facts: nobody }),
      clock: makeManualClock(),
      log,
      random: () => 0.999,
    },
    { manifestSize: 1_000_000 },
  );
  const leaver = new AbortController();
  const left = room.pull({ target, reference: v1, signal: leaver.signal });
  await Promise.resolve();
  leaver.abort(new Error('left'));
  await expect(left).rejects.toThrow('left');
  gate.open();
  await new Promise(setImmediate);
  expect(await told(byDigest(old))).toBe('hit old');
});

test('a failure of one upstream is told with its name and its cause', async () => {
  const cause = new UpstreamError('it took too long', { upstream: 'slow.example', op: 'get-manifest' });
  const upstream = scriptedUpstream({
    getManifest: async () => ({ kind: 'unavailable', upstream: 'slow.example', cause }),
  });
  const { pull } = await manifestScene(upstream);
  await expect(pull()).rejects.toMatchObject({
    code: 'UNAVAILABLE',
    message: expect.stringContaining('slow.example: it took too long'),
  });
});
