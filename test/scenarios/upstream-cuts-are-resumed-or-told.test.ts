import { expect, test } from 'vitest';
import { coldLayer } from '../helpers/cold-layer.ts';
import { download } from '../helpers/download.ts';
import { startFakeUpstream } from '../helpers/fake-upstream.ts';
import { patience } from '../helpers/patience.ts';
import { ociError, outcome, request } from '../helpers/request.ts';

const size = 6_000_000;

test('a download that is cut once is resumed by Range, and the client sees one uninterrupted body', async () => {
  const { upstream, proxy, layer, path, downloads } = await coldLayer(size);
  upstream.script({ match: downloads, cutAt: 2_000_001, times: 1 });
  expect(await request(proxy.url, path)).toMatchObject({ status: 200, digest: layer.digest, complete: true });
  const asked = upstream.journal.filter(downloads).map((entry) => entry.headers.range);
  expect(asked).toEqual([undefined, 'bytes=2000001-']);
  expect(upstream.journal.blobBytes(layer.digest)).toBe(size);
});

test('a download that is cut again and again is resumed each time', async () => {
  const { upstream, proxy, layer, path, downloads } = await coldLayer(size);
  upstream.script({ match: downloads, cutAfter: 1_000_000 });
  expect(await download(proxy.url, path, layer.bytes).ended).toBe('complete');
  expect(upstream.journal.count(downloads)).toBe(6);
  expect(upstream.journal.blobBytes(layer.digest)).toBe(size);
});

test('a download that stalls is given up and resumed on a new connection', async () => {
  const { upstream, proxy, layer, path, downloads } = await coldLayer(size);
  upstream.script({ match: downloads, stallAt: 3_000_000, times: 1 });
  expect(await download(proxy.url, path, layer.bytes).ended).toBe('complete');
  expect(upstream.journal.count(downloads)).toBe(2);
});

test('an upstream that answers the resume with the whole body still leads to the right bytes', async () => {
  const { upstream, proxy, layer, path, downloads } = await coldLayer(size);
  upstream.script({ match: downloads, noRange: true });
  upstream.script({ match: downloads, cutAt: 2_000_000, times: 1 });
  expect(await download(proxy.url, path, layer.bytes).ended).toBe('complete');
  expect(upstream.journal.blobBytes(layer.digest)).toBe(size + 2_000_000);
});

test('an upstream that answers the resume with another range does not spoil the blob', async () => {
  const { upstream, proxy, layer, path, downloads } = await coldLayer(size);
  const contentRange = `bytes 0-${size - 1}/${size}`;
  const lie = upstream.script({
    match: downloads,
    after: 1,
    times: 1,
    headers: { 'content-range': contentRange },
  });
  upstream.script({ match: downloads, cutAt: 2_000_000, times: 1 });
  expect(await download(proxy.url, path, layer.bytes).ended).toBe('complete');
  expect(lie.hits).toBe(1);
});

test('a resume goes to the next upstream when the first one is gone', async () => {
  const mirror = await startFakeUpstream();
  const origin = await startFakeUpstream();
  const { proxy, layer, image, path, downloads } = await coldLayer(size, {
    registries: { 'ghcr.io': [mirror, origin] },
    prepare: (added) => {
      mirror.add('org/app', added, 'v1');
      origin.add('org/app', added, 'v1');
    },
  });
  mirror.script({ match: downloads, cutAt: 2_000_000, times: 1 });
  mirror.script({ match: downloads, after: 1, reset: true });
  expect(await download(proxy.url, path, layer.bytes).ended).toBe('complete');
  expect(mirror.journal.blobBytes(layer.digest)).toBe(2_000_000);
  expect(origin.journal.blobBytes(layer.digest)).toBe(size - 2_000_000);
  expect(image.layers).toHaveLength(1);
});

test('when the upstream cuts at the same byte for ever, all clients are told and nothing is kept', async () => {
  const { upstream, proxy, layer, path, downloads } = await coldLayer(size);
  const fault = upstream.script({ match: downloads, cutAt: 3_000_000 });
  const answers = await Promise.all([1, 2, 3].map(() => request(proxy.url, path)));
  for (const answer of answers) {
    // The only sign after the body began is the closed connection: no error text is glued to the bytes.
    expect(answer).toMatchObject({ status: 200, complete: false });
    expect(answer.body.equals(layer.bytes.subarray(0, answer.length))).toBe(true);
    expect(answer.length).toBeLessThanOrEqual(3_000_000);
  }
  expect(fault.hits).toBeLessThan(20);
  await expect.poll(() => proxy.files(), { timeout: patience }).toEqual({ blobs: [], fills: [] });
  upstream.heal();
  expect((await request(proxy.url, path)).digest).toBe(layer.digest);
});

test('before the first byte, a blob that cannot be had is a 503 that names the upstream', async () => {
  const { upstream, proxy, path } = await coldLayer(size);
  await upstream.refuse();
  const answer = await request(proxy.url, path);
  expect(answer.status).toBe(503);
  expect(ociError(answer)).toMatchObject({ code: 'UNAVAILABLE' });
  expect(ociError(answer).message).toContain(upstream.host);
  expect(Number(answer.headers['retry-after'])).toBeGreaterThan(0);
});

test('a blob that fails once with 503 is tried again before the client is told', async () => {
  const { upstream, proxy, layer, path, downloads } = await coldLayer(100_000);
  upstream.script({ match: downloads, status: 503, times: 1 });
  expect(await request(proxy.url, path)).toMatchObject({ status: 200, digest: layer.digest });
});

test.each([
  ['404', { status: 404 }],
  ['429 that is over in a second', { status: 429, headers: { 'retry-after': '1' } }],
])(
  'a blob that a manifest names and its only upstream refuses once with %s is asked for again',
  async (_, fault) => {
    const { upstream, proxy, layer, path, downloads } = await coldLayer(100_000);
    upstream.script({ match: downloads, ...fault, times: 1 });
    expect(await request(proxy.url, path)).toMatchObject({ status: 200, digest: layer.digest });
    expect(upstream.journal.count(downloads)).toBe(2);
  },
);

test('a blob that a manifest names and that is gone upstream is asked for twice, then the client is told', async () => {
  const { upstream, proxy, path, downloads } = await coldLayer(100_000);
  upstream.script({ match: downloads, status: 404 });
  expect(outcome(await request(proxy.url, path))).toBe('404 BLOB_UNKNOWN');
  expect(upstream.journal.count(downloads)).toBe(2);
});
