import { expect, test, vi } from 'vitest';
import { blobPath, coldLayer, mustGet, repository, settled, warm } from '../helpers/cold-layer.ts';
import { download } from '../helpers/download.ts';
import { makeBlob } from '../helpers/image.ts';
import { openFilesUnder } from '../helpers/leaks.ts';
import { patience } from '../helpers/patience.ts';
import { outcome, request } from '../helpers/request.ts';

// The rules under "Blobs" that real clients were measured to depend on.

test.each(['linked', 'unlinked'])(
  'HEAD of a cold blob (%s) tells its size and downloads nothing',
  async (state) => {
    const { upstream, proxy, layer } = await coldLayer(100_000);
    const other = makeBlob('in no manifest', 100_000);
    upstream.content.addBlob(repository, other);
    const { digest } = state === 'linked' ? layer : other;
    const head = await request(proxy.url, blobPath(digest), { method: 'HEAD' });
    expect(head).toMatchObject({ status: 200, length: 0 });
    expect(head.headers['content-length']).toBe('100000');
    expect(head.headers['docker-content-digest']).toBe(digest);
    expect(head.headers['accept-ranges']).toBe('bytes');
    expect(upstream.journal.count({ kind: 'blob', method: 'GET' })).toBe(0);
    expect(proxy.files()).toEqual({ blobs: [], fills: [] });
  },
);

test('HEAD and GET of a cached blob agree, and neither asks upstream', async () => {
  const { upstream, proxy, layer, path } = await coldLayer(100_000);
  await warm(proxy, path);
  upstream.journal.clear();
  const get = await mustGet(proxy.url, path);
  const head = await request(proxy.url, path, { method: 'HEAD' });
  for (const name of [
    'content-type',
    'content-length',
    'docker-content-digest',
    'etag',
    'accept-ranges',
    'x-cache',
  ]) {
    expect(head.headers[name], name).toBe(get.headers[name]);
    expect(head.headers[name], name).toBeDefined();
  }
  expect(get.headers.etag).toBe(`"${layer.digest}"`);
  expect(upstream.journal.count()).toBe(0);
});

test('a cold blob comes with its exact length, cold and unlinked as well', async () => {
  const { upstream, proxy, path } = await coldLayer(100_000);
  const other = makeBlob('in no manifest', 6_000_000);
  upstream.content.addBlob(repository, other);
  for (const [url, size] of [
    [path, 100_000],
    [blobPath(other.digest), 6_000_000],
  ] as const) {
    const answer = await mustGet(proxy.url, url);
    expect(answer.headers['content-length']).toBe(String(size));
    expect(answer.headers['transfer-encoding']).toBeUndefined();
    expect(answer.headers['content-type']).toBe('application/octet-stream');
    expect(answer.headers['x-cache']).toBe('miss');
  }
});

test('If-None-Match on a cached blob is 304', async () => {
  const { proxy, layer, path } = await coldLayer(1_000);
  await mustGet(proxy.url, path);
  const answer = await request(proxy.url, path, { headers: { 'if-none-match': `"${layer.digest}"` } });
  expect(answer).toMatchObject({ status: 304, length: 0 });
});

test('a client that reads nothing is dropped after the write-stall timeout while others proceed', async () => {
  const { proxy, layer, path } = await coldLayer(60_000_000, { server: { writeStallTimeout: 300 } });
  await warm(proxy, path);
  const idle = download(proxy.url, path, layer.bytes, { reading: false });
  await idle.headers;
  const openBlobs = () => openFilesUnder(proxy.storagePath).filter((file) => file.startsWith('blobs/'));
  expect(openBlobs()).toHaveLength(1);
  expect(await download(proxy.url, path, layer.bytes).ended).toBe('complete');
  await vi.waitUntil(() => openBlobs().length === 0, { timeout: patience });
  idle.read();
  expect(await idle.ended).toBe('cut');
});

test('a client that reads slowly, but reads, is not dropped', async () => {
  const { upstream, proxy, layer, path, downloads } = await coldLayer(6_000_000, {
    server: { writeStallTimeout: 150 },
  });
  const stall = upstream.script({ match: downloads, bytesPerSecond: 5_000_000 });
  // The body arrives over more than a second: waiting for upstream is no fault of the client's.
  expect(await download(proxy.url, path, layer.bytes).ended).toBe('complete');
  expect(stall.hits).toBeGreaterThan(0);
});

test('after a body began the only error is a closed connection', async () => {
  const { upstream, proxy, layer, path, downloads } = await coldLayer(6_000_000);
  upstream.script({ match: downloads, status: 404 });
  upstream.script({ match: downloads, times: 1, cutAt: 3_000_000 });
  const answer = await request(proxy.url, path);
  expect(answer).toMatchObject({ status: 200, complete: false });
  expect(answer.length).toBeGreaterThan(0);
  expect(layer.bytes.subarray(0, answer.length).equals(answer.body)).toBe(true);
});

test('a manifest digest under /blobs/ is not served as a blob', async () => {
  const { proxy, image } = await coldLayer(1_000);
  const answer = await request(proxy.url, blobPath(image.manifest.digest));
  expect(outcome(answer)).toBe('404 BLOB_UNKNOWN');
});

test('an empty blob is served', async () => {
  const { upstream, proxy } = await coldLayer(1_000);
  const empty = makeBlob('empty', 0);
  upstream.content.addBlob(repository, empty);
  for (const _ of ['cold', 'warm']) {
    const answer = await mustGet(proxy.url, blobPath(empty.digest));
    expect(answer.length).toBe(0);
    expect(answer.headers['content-length']).toBe('0');
  }
  await expect.poll(() => proxy.files().fills).toEqual([]);
});

test('blobs behind a redirect to another origin are fetched, resumed there and cached', async () => {
  const { upstream, proxy, layer, path } = await coldLayer(6_000_000, { upstream: { redirectBlobs: 307 } });
  upstream.cdn.script({ cutAt: 2_000_000, times: 1 });
  expect((await mustGet(proxy.url, path)).digest).toBe(layer.digest);
  await settled(proxy, path);
  expect(upstream.cdn.journal.blobBytes(layer.digest)).toBe(6_000_000);
  await upstream.refuse();
  expect((await mustGet(proxy.url, path)).headers['x-cache']).toBe('hit');
});

test('a redirect loop ends in a 503', async () => {
  const { upstream, proxy, path, downloads } = await coldLayer(1_000);
  upstream.script({ match: downloads, redirectTo: path });
  expect(outcome(await request(proxy.url, path))).toBe('503 UNAVAILABLE');
  expect(upstream.journal.count(downloads)).toBeLessThan(100);
});
