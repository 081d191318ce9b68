import { expect, test, vi } from 'vitest';
import { blobPath, manifestPath, mustGet, repository } from '../helpers/cold-layer.ts';
import { startFakeUpstream } from '../helpers/fake-upstream.ts';
import { blobsOf, makeImage, makeIndex } from '../helpers/image.ts';
import { metric } from '../helpers/metrics.ts';
import { patience } from '../helpers/patience.ts';
import { pull } from '../helpers/pull.ts';
import { request } from '../helpers/request.ts';
import { type ProxyOptions, startProxy } from '../helpers/start-proxy.ts';

const index = makeIndex({ layers: [30_000, 20_000, 10_000] });
const [amd64, arm64] = index.images;
if (!amd64 || !arm64) throw new Error('the index has two images');

/** Waits for what happens without anybody asking for it. */
function until(condition: () => boolean | Promise<boolean>) {
  return vi.waitUntil(condition, { timeout: patience, interval: 10 });
}

async function scene(options: Partial<ProxyOptions> = {}) {
  const upstream = await startFakeUpstream();
  upstream.add(repository, index, 'v1');
  const proxy = await startProxy({ registries: { 'ghcr.io': upstream }, prefetch: true, ...options });
  const downloads = { kind: 'blob', method: 'GET' } as const;
  const stored = (count: number) => until(() => proxy.files().blobs.length === count);
  return { upstream, proxy, downloads, stored };
}

test('the config and layers of the platform pulled arrive before the client asks, and no other platform’s', async () => {
  const { upstream, proxy, downloads, stored } = await scene();
  await mustGet(proxy.url, manifestPath('v1'));
  expect(upstream.journal.count(downloads)).toBe(0);
  await mustGet(proxy.url, manifestPath(amd64.manifest.digest));
  await stored(4);
  const fetched = upstream.journal.filter(downloads).map(({ reference }) => reference);
  expect(fetched.toSorted()).toEqual(
    blobsOf(amd64)
      .map(({ digest }) => digest)
      .toSorted(),
  );
  const pulled = await pull(proxy.url, { repository, reference: 'v1' });
  expect(pulled.outcomes.slice(-4)).toEqual(['hit', 'hit', 'hit', 'hit']);
  expect(upstream.journal.count(downloads)).toBe(4);
  expect(await metric(proxy.url, 'entrepot_prefetched_total', 'result="stored"')).toBe(4);
});

test('a client that asks at once joins: each blob is downloaded once', async () => {
  const { upstream, proxy, downloads } = await scene();
  await Promise.all([1, 2, 3].map(() => pull(proxy.url, { repository, reference: 'v1' })));
  expect(upstream.journal.count(downloads)).toBe(4);
});

test('who only asks whether a manifest is there starts nothing', async () => {
  const { upstream, proxy, downloads, stored } = await scene();
  await request(proxy.url, manifestPath(amd64.manifest.digest), { method: 'HEAD' });
  // What was begun by the HEAD would be at the upstream before what this begins.
  await mustGet(proxy.url, manifestPath(arm64.manifest.digest));
  await stored(4);
  const own = new Set<string | undefined>(blobsOf(arm64).map(({ digest }) => digest));
  expect(upstream.journal.filter(downloads).filter(({ reference }) => !own.has(reference))).toEqual([]);
});

test('a quarter of the downloads is all that it takes, and a client does not wait behind it', async () => {
  const { upstream, proxy, downloads } = await scene({ limits: { connections: 4 } });
  const hold = upstream.script({ match: { kind: 'blob', reference: amd64.config.digest }, hold: true });
  await mustGet(proxy.url, manifestPath(amd64.manifest.digest));
  await hold.reached();
  // The config's download stands still, and so does what is to follow it; the client's own does not.
  const layer = amd64.layers[2]?.digest ?? '';
  expect((await mustGet(proxy.url, blobPath(layer))).headers['x-cache']).toBe('miss');
  expect(upstream.journal.count(downloads)).toBe(2);
  hold.release();
  await until(() => proxy.files().blobs.length === 4);
  expect(upstream.journal.count(downloads)).toBe(4);
});

test('a layer that the upstream lacks costs the client nothing but the layer', async () => {
  const { upstream, proxy, stored } = await scene();
  const broken = makeImage({ seed: 'broken', layers: [5_000, 6_000] });
  upstream.add(repository, broken, 'broken');
  const [gone, there] = broken.layers;
  upstream.script({ match: { kind: 'blob', reference: gone?.digest ?? '' }, status: 404 });
  await mustGet(proxy.url, manifestPath('broken'));
  await stored(2);
  expect((await mustGet(proxy.url, blobPath(there?.digest ?? ''))).headers['x-cache']).toBe('hit');
  expect((await request(proxy.url, blobPath(gone?.digest ?? ''))).status).toBe(404);
  await until(async () => (await metric(proxy.url, 'entrepot_prefetched_total', 'result="failed"')) === 1);
});

test.each([
  ['switched off', { prefetch: false }],
  ['left with no downloads of its own', { limits: { connections: 3 } }],
])('%s, it starts nothing', async (_, options) => {
  const { upstream, proxy, downloads } = await scene(options);
  await mustGet(proxy.url, manifestPath(amd64.manifest.digest));
  await mustGet(proxy.url, blobPath(amd64.config.digest));
  expect(upstream.journal.count(downloads)).toBe(1);
});
