import { expect, test } from 'vitest';
import { blobPath, settled } from '../helpers/cold-layer.ts';
import { download } from '../helpers/download.ts';
import { request } from '../helpers/request.ts';
import { blobDownloads, patient, severalUpstreams } from '../helpers/several-upstreams.ts';

const throttled = 1_200_000;

test('a throttled connection is joined by others, each byte comes about once, and delivery goes on in order', async () => {
  const size = 18_000_000;
  const { a, proxy, layer, path, downloads, bytes } = await severalUpstreams([size], { configured: [{}] });
  a.script({ match: downloads, bytesPerSecond: throttled });
  const client = download(proxy.url, path, layer.bytes);
  await client.received(1_000_000);
  expect(bytes()).toBeLessThan(size);
  expect(await client.ended).toBe('complete');
  await settled(proxy, path);
  expect(a.journal.mostAtOnce(downloads)).toBeGreaterThanOrEqual(3);
  expect(a.journal.mostAtOnce(downloads)).toBeLessThanOrEqual(4);
  const [first, ...further] = a.journal.filter(downloads);
  expect(first?.headers.range).toBeUndefined();
  for (const entry of further) expect([entry.status, entry.headers.range]).toEqual([206, expect.any(String)]);
  expect(bytes()).toBeGreaterThanOrEqual(size);
  expect(bytes()).toBeLessThanOrEqual(1.05 * size);
});

test('two throttled upstreams are used together', async () => {
  const size = 16_000_000;
  const { a, b, proxy, layer, path, downloads, bytes } = await severalUpstreams([size], {
    configured: [{ maxConnections: 1 }, { maxConnections: 1 }],
  });
  for (const upstream of [a, b]) upstream.script({ match: downloads, bytesPerSecond: throttled });
  expect(await download(proxy.url, path, layer.bytes).ended).toBe('complete');
  await settled(proxy, path);
  for (const upstream of [a, b]) {
    expect(upstream.journal.mostAtOnce(downloads)).toBe(1);
    expect(upstream.journal.blobBytes(layer.digest)).toBeGreaterThan(0.25 * size);
  }
  expect(bytes()).toBeLessThanOrEqual(1.05 * size);
});

test.each([1, 2] as const)('an upstream with maxConnections %i gets no more at once', async (most) => {
  const size = 8_000_000;
  const { a, proxy, layer, path, downloads, bytes } = await severalUpstreams([size], {
    configured: [{ maxConnections: most }],
  });
  a.script({ match: downloads, bytesPerSecond: throttled });
  const client = download(proxy.url, path, layer.bytes);
  const tail = request(proxy.url, path, { headers: { range: `bytes=${size - 2_000_000}-` } });
  expect(await client.ended).toBe('complete');
  expect((await tail).body.equals(layer.bytes.subarray(size - 2_000_000))).toBe(true);
  expect(a.journal.mostAtOnce(downloads)).toBe(most);
  expect(bytes()).toBeLessThanOrEqual(1.05 * size);
});

test('limits.connections holds for all downloads together', async () => {
  const sizes = [2_000_000, 2_000_001, 2_000_002, 2_000_003];
  const { a, proxy, image } = await severalUpstreams(sizes, {
    configured: [{}],
    limits: { connections: 2 },
  });
  a.script({ match: blobDownloads, bytesPerSecond: 2 * throttled });
  const clients = image.layers.map(({ digest, bytes }) => download(proxy.url, blobPath(digest), bytes));
  for (const client of clients) expect(await client.ended).toBe('complete');
  expect(a.journal.mostAtOnce(blobDownloads)).toBe(2);
});

test('a cold range far ahead is answered before the front gets there', async () => {
  const size = 12_000_000;
  const { a, proxy, layer, path, downloads, bytes } = await severalUpstreams([size], {
    configured: [patient],
  });
  const stall = a.script({ match: downloads, stallAt: 1_000_000, times: 1 });
  const front = download(proxy.url, path, layer.bytes);
  await stall.reached();
  const ahead = await request(proxy.url, path, { headers: { range: 'bytes=9000000-9000999' } });
  expect(ahead).toMatchObject({ status: 206, length: 1_000, complete: true });
  expect(ahead.body.equals(layer.bytes.subarray(9_000_000, 9_001_000))).toBe(true);
  const [first, second] = a.journal.filter(downloads);
  expect([first?.bytes, first?.state]).toEqual([1_000_000, 'open']);
  expect(second?.headers.range).toMatch(/^bytes=9000000-/);
  expect(front.length).toBeLessThanOrEqual(1_000_000);
  stall.release();
  expect(await front.ended).toBe('complete');
  expect(bytes()).toBeGreaterThanOrEqual(size);
});

test('a throttled blob whose connections are cut again and again still comes out right', async () => {
  const size = 9_000_000;
  const { a, b, proxy, layer, path, downloads } = await severalUpstreams([size]);
  for (const upstream of [a, b]) {
    upstream.script({ match: downloads, bytesPerSecond: 2 * throttled, cutAfter: 1_700_000 });
  }
  expect(await download(proxy.url, path, layer.bytes).ended).toBe('complete');
  expect(a.journal.count(downloads) + b.journal.count(downloads)).toBeGreaterThan(5);
});

test.each([
  ['one upstream', { configured: [{ maxBandwidth: 1_000_000 }] }],
  ['all together', { configured: [{}], limits: { connections: 64, maxBandwidth: 1_000_000 } }],
])('no more than maxBandwidth is taken from %s', async (_, options) => {
  const { proxy, image } = await severalUpstreams([1_500_000, 1_500_001], {
    ...options,
    ...('limits' in options && { limits: options.limits }),
  });
  const began = performance.now();
  const clients = image.layers.map(({ digest, bytes }) => download(proxy.url, blobPath(digest), bytes));
  for (const client of clients) expect(await client.ended).toBe('complete');
  // A lower bound only, so that a busy machine cannot break it; half of what is due leaves room for a burst.
  expect(performance.now() - began).toBeGreaterThan(1_500);
});
