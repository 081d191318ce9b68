import { expect, test } from 'vitest';
import { blobPath, manifestPath, mustGet, repository, settled } from '../helpers/cold-layer.ts';
import { download } from '../helpers/download.ts';
import { type FakeUpstream, startFakeUpstream } from '../helpers/fake-upstream.ts';
import { makeBlob, makeImage, type TestBlob } from '../helpers/image.ts';
import { patience } from '../helpers/patience.ts';
import { request } from '../helpers/request.ts';
import { patient, severalUpstreamsAndProcess } from '../helpers/several-upstreams.ts';
import { startProxy } from '../helpers/start-proxy.ts';
import { startProxyProcess } from '../helpers/start-proxy-process.ts';

const size = 30_000_000;
const half = 20_000_000;

async function scene(): Promise<{ upstream: FakeUpstream; layer: TestBlob; path: string }> {
  const upstream = await startFakeUpstream();
  const image = makeImage({ layers: [size] });
  upstream.add(repository, image, 'v1');
  const layer = image.layers[0] ?? makeBlob('', 0);
  return { upstream, layer, path: blobPath(layer.digest) };
}

test('after a kill -9 mid-download the next start serves the right bytes and fetches only what was missing', async () => {
  const { upstream, layer, path } = await scene();
  const proxy = await startProxyProcess({ registries: { 'ghcr.io': upstream } });
  await mustGet(proxy.url, manifestPath('v1'));
  const stall = upstream.script({ match: { kind: 'blob' }, stallAt: half });
  const client = download(proxy.url, path, layer.bytes);
  await stall.reached();
  await client.received(half - 2_000_000);
  expect(await proxy.kill('SIGKILL')).toBe('SIGKILL');
  expect(await client.ended).toBe('cut');
  expect(proxy.files().blobs).toEqual([]);

  upstream.heal();
  await proxy.start();
  expect(await download(proxy.url, path, layer.bytes).ended).toBe('complete');
  const resumed = upstream.journal.filter({ kind: 'blob', method: 'GET' }).at(-1);
  expect(resumed?.headers.range).toMatch(/^bytes=[1-9]\d*-$/);
  expect(upstream.journal.blobBytes(layer.digest)).toBeLessThan(1.5 * size);
  await settled(proxy, path);
  expect(proxy.files().fills).toEqual([]);
  await upstream.refuse();
  expect(await download(proxy.url, path, layer.bytes).ended).toBe('complete');
});

test('after a kill -9 at half of a download the next start fetches less than 60 % of it', async () => {
  const { all, a, proxy, layer, path, downloads, bytes } = await severalUpstreamsAndProcess([size], {
    configured: [patient, patient],
  });
  const stall = a.script({ match: downloads, stallAt: '50%' });
  const client = download(proxy.url, path, layer.bytes);
  await stall.reached();
  await client.received(0.49 * size);
  await proxy.kill('SIGKILL');
  const before = bytes();
  for (const upstream of all) upstream.heal();
  await proxy.start();
  expect(await download(proxy.url, path, layer.bytes).ended).toBe('complete');
  await settled(proxy, path);
  expect(bytes() - before).toBeLessThan(0.6 * size);
});

test('after a kill -9 the half that arrived out of order is not fetched again either', async () => {
  const { all, a, proxy, layer, path, downloads, bytes } = await severalUpstreamsAndProcess([size], {
    configured: [patient, patient],
  });
  const stall = a.script({ match: downloads, stallAt: '10%', times: 1 });
  const front = download(proxy.url, path, layer.bytes);
  await stall.reached();
  const tail = download(proxy.url, path, layer.bytes.subarray(size / 2), {
    headers: { range: `bytes=${size / 2}-` },
  });
  await tail.received(0.48 * size);
  expect(front.length).toBeLessThanOrEqual(0.1 * size);
  await proxy.kill('SIGKILL');
  const before = bytes();
  for (const upstream of all) upstream.heal();
  await proxy.start();
  expect(await download(proxy.url, path, layer.bytes).ended).toBe('complete');
  await settled(proxy, path);
  expect(bytes() - before).toBeLessThan(0.6 * size);
});

test('after a kill -9 among parallel ranges the next start fetches what is missing and no more than that', async () => {
  const whole = 20_000_000;
  const { all, proxy, layer, path, downloads, bytes } = await severalUpstreamsAndProcess([whole]);
  for (const upstream of all) upstream.script({ match: downloads, bytesPerSecond: 1_500_000 });
  const client = download(proxy.url, path, layer.bytes);
  const halfThere = () => bytes() >= whole / 2;
  await expect.poll(halfThere, { timeout: patience, interval: 10 }).toBe(true);
  await proxy.kill('SIGKILL');
  await client.ended;
  const before = bytes();
  expect(all.flatMap(({ journal }) => journal.filter(downloads)).length).toBeGreaterThan(2);
  for (const upstream of all) upstream.heal();
  await proxy.start();
  expect(await download(proxy.url, path, layer.bytes).ended).toBe('complete');
  await settled(proxy, path);
  expect(bytes() - before).toBeLessThan(0.6 * whole);
});

test('a partial file that was damaged while the server was down does not spoil the blob', async () => {
  const { upstream, layer, path } = await scene();
  const proxy = await startProxyProcess({ registries: { 'ghcr.io': upstream } });
  await mustGet(proxy.url, manifestPath('v1'));
  const stall = upstream.script({ match: { kind: 'blob' }, stallAt: half });
  const client = download(proxy.url, path, layer.bytes);
  await stall.reached();
  await client.received(1_000_000);
  await proxy.kill('SIGKILL');
  await proxy.damage('fills', 1_000);
  upstream.heal();
  await proxy.start();
  // The copy on disk can only be judged as a whole: the first pull may be cut, but not come out whole and wrong.
  const first = download(proxy.url, path, layer.bytes);
  const end = await first.ended;
  expect(first.length === size).toBe(end === 'complete');
  expect(await download(proxy.url, path, layer.bytes).ended).toBe('complete');
});

test('a kill -9 right after a pull loses nothing of it', async () => {
  const { upstream, layer, path } = await scene();
  const proxy = await startProxyProcess({ registries: { 'ghcr.io': upstream } });
  await mustGet(proxy.url, manifestPath('v1'));
  expect(await download(proxy.url, path, layer.bytes).ended).toBe('complete');
  await settled(proxy, path);
  await proxy.kill('SIGKILL');
  await upstream.refuse();
  await proxy.start();
  expect((await mustGet(proxy.url, manifestPath('v1'))).headers['x-cache']).toMatch(/hit|stale/);
  expect(await download(proxy.url, path, layer.bytes).ended).toBe('complete');
});

test('an orderly stop mid-download is resumed by the next start as well', async () => {
  const { upstream, layer, path } = await scene();
  const proxy = await startProxy({
    registries: { 'ghcr.io': upstream },
    server: { drainTimeout: 100 },
    allowFills: true,
  });
  await mustGet(proxy.url, manifestPath('v1'));
  const stall = upstream.script({ match: { kind: 'blob' }, stallAt: half });
  const client = download(proxy.url, path, layer.bytes);
  await stall.reached();
  await client.received(half - 2_000_000);
  const restarted = proxy.restart();
  expect(await client.ended).toBe('cut');
  await restarted;
  upstream.heal();
  const tail = await request(proxy.url, path, { headers: { range: `bytes=${client.length}-` } });
  expect(tail.status).toBe(206);
  expect(tail.body.equals(layer.bytes.subarray(client.length))).toBe(true);
  expect(upstream.journal.blobBytes(layer.digest)).toBeLessThan(1.5 * size);
  await settled(proxy, path);
  expect(proxy.files().fills).toEqual([]);
});

test('a second server on the same storage is refused and does not harm the first', async () => {
  const { upstream } = await scene();
  const proxy = await startProxyProcess({ registries: { 'ghcr.io': upstream } });
  await expect(proxy.start()).rejects.toThrow(/ended with [1-9]/);
  await mustGet(proxy.url, manifestPath('v1'));
});
