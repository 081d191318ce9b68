import { expect, onTestFinished, test } from 'vitest';
import type { Digest } from '../../../src/oci/digest.ts';
import { mediaTypes } from '../../../src/oci/media-types.ts';
import type { BlobStat } from '../../../src/pull/blobs/blobs.ts';
import { Prefetch } from '../../../src/pull/blobs/prefetch.ts';
import type { PrefetchResult } from '../../../src/pull/pull-facts.ts';
import type { StoredManifest } from '../../../src/store/manifest-records.ts';
import { captureLog } from '../../helpers/capture-log.ts';
import { pullFacts } from '../../helpers/facts.ts';
import { blobsOf, makeImage, makeIndex, mustDigest, type TestManifest } from '../../helpers/image.ts';
import { makeManualClock } from '../../helpers/manual-clock.ts';
import { targetOf } from '../scripted-upstream.ts';

const stored = ({ digest, bytes, mediaType }: TestManifest) =>
  ({ digest, bytes, mediaType }) as unknown as StoredManifest;

/** A prefetch whose downloads end when the test says so. */
function scene(most = 2, outcomes: Readonly<Record<string, BlobStat['outcome']>> = {}) {
  const clock = makeManualClock();
  const running = new Map<Digest, PromiseWithResolvers<void>>();
  const begun: Digest[] = [];
  const results: PrefetchResult[] = [];
  const looked: Digest[] = [];
  const facts = pullFacts();
  facts.on('blob-prefetched', ({ result }) => results.push(result));
  const room = new Prefetch(
    {
      clock,
      log: captureLog().log,
      facts,
      blobs: {
        stat: async (_target, digest) => {
          looked.push(digest);
          return { size: 1, outcome: outcomes[digest] ?? 'miss' };
        },
        begin: (_target, digest) => {
          const download = Promise.withResolvers<void>();
          running.set(digest, download);
          begun.push(digest);
          return download.promise;
        },
      },
    },
    { most },
  );
  onTestFinished(() => room.close());
  const target = targetOf([]);
  /** Lets what was decided by now happen. */
  const settle = () => new Promise((resolve) => setImmediate(resolve));
  return {
    clock,
    begun,
    looked,
    results,
    target,
    room,
    settle,
    async served(manifest: TestManifest, from = target) {
      room.served(from, stored(manifest));
      await settle();
    },
    async end(digest: Digest, error?: Error) {
      if (error) running.get(digest)?.reject(error);
      else running.get(digest)?.resolve();
      await settle();
    },
  };
}

const image = makeImage({ layers: [10, 20, 30] });
const blobs = blobsOf(image).map(({ digest }) => digest);

test('a pulled image begins its config and layers in order, so many at a time', async () => {
  const { served, begun, end, results } = scene(2);
  await served(image.manifest);
  expect(begun).toEqual(blobs.slice(0, 2));
  for (const digest of blobs) await end(digest);
  expect(begun).toEqual(blobs);
  expect(results).toEqual(['stored', 'stored', 'stored', 'stored']);
});

test('what is stored or under way is left alone', async () => {
  const [config = '', first = ''] = blobs;
  const { served, begun, results } = scene(8, { [config]: 'hit', [first]: 'joined' });
  await served(image.manifest);
  expect(begun).toEqual(blobs.slice(2));
  expect(results).toEqual([]);
});

test('an index begins nothing, and nor does anything where no upstream is asked', async () => {
  const { served, looked } = scene();
  await served(makeIndex().manifest);
  await served(image.manifest, targetOf([], { closed: 'offline' }));
  expect(looked).toEqual([]);
  const none = scene(0);
  await none.served(image.manifest);
  expect(none.looked).toEqual([]);
});

test('a manifest that is pulled again and again is looked into once in ten minutes', async () => {
  const { served, looked, clock, target } = scene(100);
  await served(image.manifest);
  await served(image.manifest);
  clock.advance(599_999);
  await served(image.manifest);
  expect(looked).toHaveLength(4);
  await served(image.manifest, targetOf([], { repository: 'org/other' }));
  expect(looked).toHaveLength(8);
  clock.advance(1);
  await served(image.manifest, target);
  expect(looked).toHaveLength(12);
});

test('once something stored is gone, a manifest that is pulled again is looked into again', async () => {
  const image = makeImage();
  const outcomes = Object.fromEntries(blobsOf(image).map(({ digest }) => [digest, 'hit' as const]));
  const { looked, served, room } = scene(2, outcomes);
  await served(image.manifest);
  const once = looked.length;
  room.forget();
  await served(image.manifest);
  expect(looked.length).toBe(2 * once);
});

test('a layer over 1 GiB waits until it is asked for, and one that is meant to come from elsewhere does too', async () => {
  const layer = (digit: string, size: number, mediaType: string = mediaTypes.dockerManifest) => {
    return { mediaType, size, digest: mustDigest(`sha256:${digit.repeat(64)}`) };
  };
  const config = layer('0', 10);
  const foreign = layer('3', 10, 'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip');
  const layers = [layer('1', 1024 ** 3 + 1), layer('2', 1024 ** 3), foreign];
  const mediaType = mediaTypes.ociManifest;
  const bytes = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType, config, layers }));
  const { served, begun, results } = scene(8);
  await served({ digest: mustDigest(`sha256:${'a'.repeat(64)}`), bytes, mediaType });
  expect(begun).toEqual([config.digest, layers[1]?.digest]);
  expect(results).toEqual(['too-large']);
});

test('a download that fails makes room for the next, and nobody else hears of it', async () => {
  const { served, begun, end, results } = scene(1);
  await served(image.manifest);
  const [config, first] = blobs;
  if (config) await end(config, new Error('gone'));
  expect(begun).toEqual([config, first]);
  expect(results).toEqual(['failed']);
});

test('the queue is bounded', async () => {
  const { served, results } = scene(1);
  for (let seed = 0; seed < 252; seed += 1) {
    await served(makeImage({ seed: `s${seed}`, layers: [1, 2, 3] }).manifest);
  }
  expect(results.length).toBeGreaterThan(0);
  expect(new Set(results)).toEqual(new Set(['dropped']));
});

test('after closing nothing more is begun', async () => {
  const { served, begun, end, room } = scene(1);
  await served(image.manifest);
  room.close();
  const [config] = blobs;
  if (config) await end(config);
  expect(begun).toHaveLength(1);
});
