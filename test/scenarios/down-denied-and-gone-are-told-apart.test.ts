import { expect, test } from 'vitest';
import { blobPath, manifestPath, mustGet, repository } from '../helpers/cold-layer.ts';
import { startFakeUpstream } from '../helpers/fake-upstream.ts';
import { makeBlob, makeImage } from '../helpers/image.ts';
import { makeManualClock } from '../helpers/manual-clock.ts';
import { ociError, outcome, request } from '../helpers/request.ts';
import { startProxy } from '../helpers/start-proxy.ts';

const missing = makeBlob('nowhere', 10).digest;

async function scene(options: Parameters<typeof startFakeUpstream>[0] = {}) {
  const upstream = await startFakeUpstream(options);
  const image = makeImage();
  upstream.add(repository, image, 'v1');
  const clock = makeManualClock();
  const proxy = await startProxy({ registries: { 'ghcr.io': upstream }, clock });
  const layer = image.layers[0]?.digest ?? '';
  return { upstream, proxy, clock, image, layer };
}

test.each([401, 403])('an upstream that answers %i is told as 403 DENIED, never 401', async (status) => {
  const { upstream, proxy, image, layer } = await scene();
  const challenge = { 'www-authenticate': 'Basic realm="upstream"' };
  upstream.script({ status, ...(status === 401 && { headers: challenge }) });
  for (const path of [manifestPath('v1'), manifestPath(image.manifest.digest), blobPath(layer)]) {
    const answer = await request(proxy.url, path);
    expect(outcome(answer)).toBe('403 DENIED');
    expect(answer.headers['www-authenticate']).toBeUndefined();
    expect(ociError(answer).message).toContain(upstream.host);
    const head = await request(proxy.url, path, { method: 'HEAD' });
    expect(head.status).toBe(403);
  }
});

test('an upstream that wants credentials which are not configured is told as 403 DENIED', async () => {
  const { proxy } = await scene({ auth: { kind: 'bearer', username: 'ann', password: 'secret' } });
  const answer = await request(proxy.url, manifestPath('v1'));
  expect(outcome(answer)).toBe('403 DENIED');
  expect(ociError(answer).message).toMatch(/credentials/);
});

test('what does not exist upstream is 404, manifest or blob', async () => {
  const { proxy } = await scene();
  expect(outcome(await request(proxy.url, manifestPath('v9')))).toBe('404 MANIFEST_UNKNOWN');
  expect(outcome(await request(proxy.url, manifestPath(missing)))).toBe('404 MANIFEST_UNKNOWN');
  expect(outcome(await request(proxy.url, blobPath(missing)))).toBe('404 BLOB_UNKNOWN');
  expect(outcome(await request(proxy.url, manifestPath('v1', 'org/nothing')))).toBe('404 MANIFEST_UNKNOWN');
});

test.each([500, 502, 503, 504])('an upstream that answers %i is told as 503 UNAVAILABLE', async (status) => {
  const { upstream, proxy } = await scene();
  upstream.script({ status });
  const answer = await request(proxy.url, manifestPath('v1'));
  expect(outcome(answer)).toBe('503 UNAVAILABLE');
  expect(Number(answer.headers['retry-after'])).toBeGreaterThan(0);
});

test('an upstream that refuses, resets or never answers is told as 503 UNAVAILABLE', async () => {
  const { upstream, proxy, clock } = await scene();
  upstream.script({ reset: true });
  expect(outcome(await request(proxy.url, manifestPath('v1')))).toBe('503 UNAVAILABLE');
  upstream.heal();
  upstream.script({ hang: true });
  clock.advance(60_000);
  expect(outcome(await request(proxy.url, manifestPath('v1')))).toBe('503 UNAVAILABLE');
  await upstream.refuse();
  clock.advance(60_000);
  expect(outcome(await request(proxy.url, manifestPath('v1')))).toBe('503 UNAVAILABLE');
  upstream.heal();
  await upstream.accept();
  clock.advance(60_000);
  expect(outcome(await request(proxy.url, manifestPath('v1')))).toBe('200');
});

test('a tag that was refused after its time is refused again, not served stale', async () => {
  const { upstream, proxy, clock } = await scene();
  await mustGet(proxy.url, manifestPath('v1'));
  clock.advance(400_000);
  upstream.script({ status: 403 });
  for (const _ of [1, 2, 3]) {
    expect(outcome(await request(proxy.url, manifestPath('v1')))).toBe('403 DENIED');
  }
});

test('an absence is remembered for its time and not longer', async () => {
  const { upstream, proxy, clock } = await scene();
  for (const _ of [1, 2, 3, 4, 5]) {
    expect(outcome(await request(proxy.url, manifestPath('v2')))).toBe('404 MANIFEST_UNKNOWN');
  }
  expect(upstream.journal.count({ reference: 'v2' })).toBe(1);
  upstream.add(repository, makeImage({ seed: 'later' }), 'v2');
  clock.advance(9_999);
  expect((await request(proxy.url, manifestPath('v2'))).status).toBe(404);
  clock.advance(2);
  expect((await request(proxy.url, manifestPath('v2'))).status).toBe(200);
});

test.each([404, 403])('a blob’s %i is remembered for its time and not longer', async (status) => {
  const { upstream, proxy, clock, layer } = await scene();
  await mustGet(proxy.url, manifestPath('v1'));
  const told = status === 404 ? '404 BLOB_UNKNOWN' : '403 DENIED';
  for (const path of [blobPath(layer), blobPath(missing)]) {
    upstream.script({ match: { kind: 'blob' }, status });
    expect(outcome(await request(proxy.url, path))).toBe(told);
    const asked = upstream.journal.count();
    clock.advance(9_999);
    for (const method of ['GET', 'HEAD', 'GET']) {
      expect((await request(proxy.url, path, { method })).status).toBe(status);
    }
    expect(upstream.journal.count()).toBe(asked);
    clock.advance(1);
    upstream.heal();
    expect((await request(proxy.url, path)).status).toBe(path === blobPath(layer) ? 200 : 404);
    expect(upstream.journal.count()).toBeGreaterThan(asked);
  }
});

test('a tag deleted upstream is gone after its time, but its digest still serves', async () => {
  const { upstream, proxy, clock, image } = await scene();
  await mustGet(proxy.url, manifestPath('v1'));
  upstream.content.deleteTag(repository, 'v1');
  await mustGet(proxy.url, manifestPath('v1'));
  clock.advance(300_001);
  for (const _ of [1, 2]) {
    expect(outcome(await request(proxy.url, manifestPath('v1')))).toBe('404 MANIFEST_UNKNOWN');
  }
  await upstream.refuse();
  const byDigest = await mustGet(proxy.url, manifestPath(image.manifest.digest));
  expect(byDigest.digest).toBe(image.manifest.digest);
  expect(byDigest.headers['x-cache']).toBe('hit');
});

test('down and gone are not confused when one of two upstreams is down', async () => {
  const down = await startFakeUpstream();
  const empty = await startFakeUpstream();
  const proxy = await startProxy({ registries: { 'ghcr.io': [down, empty] } });
  await down.refuse();
  // The one that is down might have it: saying 404 here would make clients believe that the image does not exist.
  expect(outcome(await request(proxy.url, manifestPath('v1')))).toBe('503 UNAVAILABLE');
});
