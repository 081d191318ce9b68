import { expect, test } from 'vitest';
import { blobPath, manifestPath, mustGet, settled } from '../helpers/cold-layer.ts';
import type { FakeUpstream } from '../helpers/fake-upstream.ts';
import { patience } from '../helpers/patience.ts';
import { ociError, outcome, request } from '../helpers/request.ts';
import { severalUpstreams } from '../helpers/several-upstreams.ts';

const notPing = (entry: { kind: string }) => entry.kind !== 'ping';

const asked = (upstreams: readonly FakeUpstream[]) =>
  upstreams.reduce((sum, { journal }) => sum + journal.count(notPing), 0);

test.each([
  ['answers 503', (upstream: FakeUpstream) => upstream.script({ status: 503 })],
  ['resets every connection', (upstream: FakeUpstream) => upstream.script({ reset: true })],
])('each %s: a cold blob is a clear 503 after a bounded number of requests', async (_, breakIt) => {
  const { all, proxy, path } = await severalUpstreams([100_000]);
  const before = asked(all);
  for (const upstream of all) breakIt(upstream);
  const answer = await request(proxy.url, path);
  expect(outcome(answer)).toBe('503 UNAVAILABLE');
  for (const { host } of all) expect(ociError(answer).message).toContain(host);
  expect(Number(answer.headers['retry-after'])).toBeGreaterThan(0);
  expect(asked(all) - before).toBeLessThanOrEqual(12);

  // What is asked again at once does not beat on them either.
  for (let times = 0; times < 5; times += 1) {
    expect(outcome(await request(proxy.url, path))).toBe('503 UNAVAILABLE');
  }
  expect(asked(all) - before).toBeLessThanOrEqual(30);
});

test('what is cached is served without a single request to a dead upstream', async () => {
  const { all, proxy, image, layer, path } = await severalUpstreams([100_000, 200_000]);
  const cold = blobPath(image.layers[1]?.digest ?? '');
  await mustGet(proxy.url, path);
  await settled(proxy, path);
  for (const upstream of all) upstream.script({ status: 503 });
  expect(outcome(await request(proxy.url, cold))).toBe('503 UNAVAILABLE');
  const before = asked(all);
  for (let times = 0; times < 3; times += 1) {
    const blob = await mustGet(proxy.url, path);
    expect([blob.digest, blob.headers['x-cache']]).toEqual([layer.digest, 'hit']);
    for (const reference of ['v1', image.manifest.digest]) {
      const manifest = await mustGet(proxy.url, manifestPath(reference));
      expect([manifest.digest, manifest.headers['x-cache']]).toEqual([image.manifest.digest, 'hit']);
    }
  }
  expect(asked(all)).toBe(before);
});

test('a blob that was cut off in its middle by the death of both ends as a broken connection, and goes on later', async () => {
  const { a, b, all, proxy, layer, path, downloads, bytes } = await severalUpstreams([12_000_000], {
    allowFills: true,
  });
  for (const upstream of [a, b]) upstream.script({ match: downloads, dieAt: '60%' });
  const answer = await request(proxy.url, path);
  expect(answer).toMatchObject({ status: 200, complete: false });
  expect(answer.body.equals(layer.bytes.subarray(0, answer.length))).toBe(true);
  for (const upstream of all) {
    upstream.heal();
    await upstream.accept();
  }
  const tail = { headers: { range: `bytes=${answer.length}-` } };
  await expect
    .poll(async () => (await request(proxy.url, path, tail)).status, { timeout: patience })
    .toBe(206);
  const rest = await request(proxy.url, path, tail);
  expect(rest.body.equals(layer.bytes.subarray(answer.length))).toBe(true);
  expect(bytes()).toBeLessThan(2 * layer.bytes.length);
});
