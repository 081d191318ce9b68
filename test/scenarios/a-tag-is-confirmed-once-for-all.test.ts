import { expect, test } from 'vitest';
import { manifestPath, mustGet, repository } from '../helpers/cold-layer.ts';
import { startFakeUpstream } from '../helpers/fake-upstream.ts';
import { makeImage } from '../helpers/image.ts';
import { makeManualClock } from '../helpers/manual-clock.ts';
import { ociError, outcome, request } from '../helpers/request.ts';
import { startProxy } from '../helpers/start-proxy.ts';

const tagTtl = 300_000;

async function scene(options: Parameters<typeof startFakeUpstream>[0] = {}) {
  const upstream = await startFakeUpstream(options);
  const image = makeImage();
  upstream.add(repository, image, 'v1');
  const clock = makeManualClock();
  const proxy = await startProxy({ registries: { 'ghcr.io': { upstreams: [upstream], tagTtl } }, clock });
  return { upstream, image, clock, proxy };
}

/** Sends requests for the tag at once, and waits until the server has taken them all in. */
async function crowd(url: string, size: number) {
  const answers = Array.from({ length: size }, () => request(url, manifestPath('v1')));
  // A later connection is accepted after those of the crowd, and a second one after their requests were read.
  await request(url, '/v2/');
  await request(url, '/v2/');
  return answers;
}

test('a fresh tag costs no upstream request', async () => {
  const { upstream, proxy, clock } = await scene();
  await mustGet(proxy.url, manifestPath('v1'));
  upstream.journal.clear();
  clock.advance(tagTtl - 1);
  const answer = await mustGet(proxy.url, manifestPath('v1'));
  expect(answer.headers['x-cache']).toBe('hit');
  expect(upstream.journal.count()).toBe(0);
});

test('20 clients that ask for an expired tag at once cost one HEAD and nothing else', async () => {
  const { upstream, proxy, clock, image } = await scene();
  await mustGet(proxy.url, manifestPath('v1'));
  clock.advance(tagTtl + 1);
  upstream.journal.clear();
  const hold = upstream.script({ hold: true });
  const waiting = await crowd(proxy.url, 20);
  await hold.reached();
  hold.release();
  for (const answer of await Promise.all(waiting)) {
    expect(answer).toMatchObject({ status: 200, digest: image.manifest.digest });
    expect(answer.headers['x-cache']).toMatch(/^(revalidated|joined)$/);
  }
  expect(upstream.journal.entries.map(({ method, kind }) => `${method} ${kind}`)).toEqual(['HEAD manifest']);
  // Confirmed: the next one is a hit again.
  expect((await mustGet(proxy.url, manifestPath('v1'))).headers['x-cache']).toBe('hit');
  expect(upstream.journal.count()).toBe(1);
});

test('20 clients that ask for an unknown tag at once cost one download of the manifest', async () => {
  const { upstream, proxy, image } = await scene();
  const hold = upstream.script({ match: { method: 'GET' }, hold: true });
  const waiting = await crowd(proxy.url, 20);
  await hold.reached();
  hold.release();
  const answers = await Promise.all(waiting);
  for (const answer of answers) expect(answer).toMatchObject({ status: 200, digest: image.manifest.digest });
  expect(answers.filter((answer) => answer.headers['x-cache'] === 'miss')).toHaveLength(1);
  expect(upstream.journal.count({ kind: 'manifest', method: 'GET' })).toBe(1);
});

test('the leader of a crowd may leave: the others are answered all the same', async () => {
  const { upstream, proxy, image } = await scene();
  const hold = upstream.script({ match: { method: 'GET' }, hold: true });
  const leaving = new AbortController();
  const leader = request(proxy.url, manifestPath('v1'), { signal: leaving.signal });
  await hold.reached();
  const waiting = await crowd(proxy.url, 5);
  leaving.abort();
  await expect(leader).rejects.toThrow();
  hold.release();
  for (const answer of await Promise.all(waiting)) expect(answer.digest).toBe(image.manifest.digest);
  expect(upstream.journal.count({ method: 'GET' })).toBe(1);
});

test('when the request of a crowd fails, everyone is told', async () => {
  const { upstream, proxy } = await scene();
  const hold = upstream.script({ match: { kind: 'manifest' }, hold: true, status: 404 });
  const waiting = await crowd(proxy.url, 10);
  await hold.reached();
  hold.release();
  for (const answer of await Promise.all(waiting)) expect(outcome(answer)).toBe('404 MANIFEST_UNKNOWN');
});

test('a tag that moved is fetched anew, and its old digest still serves', async () => {
  const { upstream, proxy, clock, image } = await scene();
  await mustGet(proxy.url, manifestPath('v1'));
  const next = makeImage({ seed: 'next' });
  upstream.add(repository, next, 'v1');
  expect((await mustGet(proxy.url, manifestPath('v1'))).digest).toBe(image.manifest.digest);
  clock.advance(tagTtl + 1);
  expect((await mustGet(proxy.url, manifestPath('v1'))).digest).toBe(next.manifest.digest);
  await upstream.refuse();
  expect((await mustGet(proxy.url, manifestPath(image.manifest.digest))).digest).toBe(image.manifest.digest);
});

test.each([
  ['without a digest header', { digestHeader: false }],
  ['that knows no HEAD', { head: false }],
])('an upstream %s is asked in full instead', async (_, options) => {
  const { upstream, proxy, clock, image } = await scene(options);
  await mustGet(proxy.url, manifestPath('v1'));
  clock.advance(tagTtl + 1);
  const answer = await mustGet(proxy.url, manifestPath('v1'));
  expect(answer.digest).toBe(image.manifest.digest);
  expect(answer.headers['x-cache']).not.toBe('stale');
  const next = makeImage({ seed: 'next' });
  upstream.add(repository, next, 'v1');
  clock.advance(tagTtl + 1);
  expect((await mustGet(proxy.url, manifestPath('v1'))).digest).toBe(next.manifest.digest);
});

test('a rate-limited upstream is asked once for six impatient clients, who all read Retry-After', async () => {
  const { upstream, proxy, clock } = await scene();
  upstream.script({ match: { kind: 'manifest' }, status: 429, headers: { 'retry-after': '7' } });
  for (const _ of [1, 2, 3, 4, 5, 6]) {
    const answer = await request(proxy.url, manifestPath('v1'));
    expect(answer.status).toBe(429);
    expect(ociError(answer).code).toBe('TOOMANYREQUESTS');
    expect(answer.headers['retry-after']).toBe('7');
  }
  expect(upstream.journal.count({ kind: 'manifest' })).toBe(1);
  upstream.heal();
  clock.advance(7_001);
  await mustGet(proxy.url, manifestPath('v1'));
});

test('a HEAD confirms a tag as a GET does', async () => {
  const { upstream, proxy, clock } = await scene();
  await request(proxy.url, manifestPath('v1'), { method: 'HEAD' });
  clock.advance(tagTtl + 1);
  upstream.journal.clear();
  const head = await request(proxy.url, manifestPath('v1'), { method: 'HEAD' });
  expect(head.headers['x-cache']).toBe('revalidated');
  await mustGet(proxy.url, manifestPath('v1'));
  expect(upstream.journal.count()).toBe(1);
});
