import { expect, test } from 'vitest';
import { blobPath, manifestPath, mustGet, repository } from '../helpers/cold-layer.ts';
import { type FakeUpstream, startFakeUpstream } from '../helpers/fake-upstream.ts';
import { makeImage, makeIndex } from '../helpers/image.ts';
import type { JournalEntry } from '../helpers/journal.ts';
import { type ManualClock, makeManualClock } from '../helpers/manual-clock.ts';
import { type ClientKind, pull } from '../helpers/pull.ts';
import { outcome, request } from '../helpers/request.ts';
import { type RunningProxy, startProxy } from '../helpers/start-proxy.ts';

const index = makeIndex();

async function warmScene(): Promise<{ upstream: FakeUpstream; proxy: RunningProxy; clock: ManualClock }> {
  const upstream = await startFakeUpstream();
  upstream.add(repository, index, 'v1');
  const clock = makeManualClock();
  const proxy = await startProxy({ registries: { 'ghcr.io': upstream }, clock });
  await pull(proxy.url, { repository, reference: 'v1' });
  return { upstream, proxy, clock };
}

test.each([
  ['refuses connections', (upstream: FakeUpstream) => upstream.refuse()],
  ['answers 503', (upstream: FakeUpstream) => upstream.script({ status: 503 })],
  ['answers 429', (upstream: FakeUpstream) => upstream.script({ status: 429 })],
  ['resets connections', (upstream: FakeUpstream) => upstream.script({ reset: true })],
  ['never answers', (upstream: FakeUpstream) => upstream.script({ hang: true })],
])('when the upstream %s an expired tag is served stale and says so', async (_, breakIt) => {
  const { upstream, proxy, clock } = await warmScene();
  await breakIt(upstream);
  clock.advance(300_001);
  const answer = await mustGet(proxy.url, manifestPath('v1'));
  expect(answer.digest).toBe(index.manifest.digest);
  expect(answer.headers['x-cache']).toBe('stale');
  expect(answer.headers['warning']).toMatch(/^299 \S+ ".+"/);
  expect(answer.headers['warning']).not.toContain('not cached');
  expect(answer.headers['docker-content-digest']).toBe(index.manifest.digest);
  // The next client does not wait for the broken upstream again.
  const asked = upstream.journal.count();
  expect((await mustGet(proxy.url, manifestPath('v1'))).headers['x-cache']).toBe('stale');
  expect(upstream.journal.count()).toBe(asked);
});

test.each([
  ['tags', `/v2/${repository}/tags/list`],
  ['referrers', `/v2/${repository}/referrers/${index.manifest.digest}`],
])('an old list of %s is served stale, and says so and why', async (_, path) => {
  const { upstream, proxy, clock } = await warmScene();
  const before = await mustGet(proxy.url, path);
  expect(before.headers['warning']).toBeUndefined();
  await upstream.refuse();
  clock.advance(300_001);
  const answer = await mustGet(proxy.url, path);
  expect(answer.text).toBe(before.text);
  expect(answer.headers['x-cache']).toBe('stale');
  expect(answer.headers['warning']).toMatch(new RegExp(`^299 - "stale: ${upstream.host}: .+"$`));
});

test('a fresh tag, digests and blobs are served without a single upstream request', async () => {
  const { upstream, proxy } = await warmScene();
  upstream.journal.clear();
  const pulled = await pull(proxy.url, { repository, reference: 'v1' });
  expect(pulled.digest).toBe(index.manifest.digest);
  await pull(proxy.url, { repository, reference: index.manifest.digest });
  expect(upstream.journal.toString()).toBe('(no request)');
});

test('digests and blobs are served without a single upstream request even long after the tag expired', async () => {
  const { upstream, proxy, clock } = await warmScene();
  clock.advance(1_000_000_000);
  upstream.journal.clear();
  const { outcomes } = await pull(proxy.url, {
    repository,
    reference: index.manifest.digest,
    client: 'docker',
  });
  expect(outcomes.slice(1)).toEqual(outcomes.slice(1).map(() => 'hit'));
  expect(upstream.journal.toString()).toBe('(no request)');
});

test.each<ClientKind>(['docker', 'containerd', 'podman'])(
  'a %s client pulls the cached image with the upstream dead',
  async (client) => {
    const { upstream, proxy, clock } = await warmScene();
    await upstream.refuse();
    clock.advance(300_001);
    const pulled = await pull(proxy.url, { repository, reference: 'v1', client });
    expect(pulled.digest).toBe(index.manifest.digest);
    expect(pulled.blobs.size).toBe(3);
  },
);

test('when the upstream is back the tag is confirmed again, and moves when it moved', async () => {
  const { upstream, proxy, clock } = await warmScene();
  await upstream.refuse();
  clock.advance(300_001);
  await mustGet(proxy.url, manifestPath('v1'));
  await upstream.accept();
  const moved = makeImage({ seed: 'moved' });
  upstream.add(repository, moved, 'v1');
  clock.advance(300_001);
  const answer = await mustGet(proxy.url, manifestPath('v1'));
  expect(answer.digest).toBe(moved.manifest.digest);
  expect(answer.headers['x-cache']).toBe('miss');
});

test('the server starts while its upstream is down, serves what it has, and recovers by itself', async () => {
  const { upstream, proxy, clock } = await warmScene();
  await upstream.refuse();
  clock.advance(300_001);
  await proxy.restart();
  expect((await request(proxy.url, '/v2/')).status).toBe(200);
  expect((await mustGet(proxy.url, manifestPath('v1'))).headers['x-cache']).toBe('stale');
  const config = index.images[0]?.config.digest ?? '';
  expect((await mustGet(proxy.url, blobPath(config))).headers['x-cache']).toBe('hit');
  expect(outcome(await request(proxy.url, manifestPath('v2')))).toBe('503 UNAVAILABLE');
  await upstream.accept();
  upstream.add(repository, makeImage({ seed: 'v2' }), 'v2');
  clock.advance(300_001);
  await mustGet(proxy.url, manifestPath('v2'));
});

test('a broken second upstream does not hurt while the first works', async () => {
  const working = await startFakeUpstream();
  const broken = await startFakeUpstream();
  await broken.refuse();
  working.add(repository, index, 'v1');
  const proxy = await startProxy({ registries: { 'ghcr.io': [working, broken] } });
  expect((await pull(proxy.url, { repository, reference: 'v1' })).digest).toBe(index.manifest.digest);
});

test('when the first upstream is down a cold pull goes through the second', async () => {
  const down = await startFakeUpstream();
  const mirror = await startFakeUpstream();
  await down.refuse();
  mirror.add(repository, index, 'v1');
  const proxy = await startProxy({ registries: { 'ghcr.io': [down, mirror] } });
  expect((await pull(proxy.url, { repository, reference: 'v1' })).digest).toBe(index.manifest.digest);
});

test('tags are never asked of an upstream with tags: false, content is', async () => {
  const mirror = await startFakeUpstream();
  const origin = await startFakeUpstream();
  mirror.add(repository, index, 'v1');
  origin.add(repository, index, 'v1');
  const proxy = await startProxy({ registries: { 'ghcr.io': [{ url: mirror.url, tags: false }, origin] } });
  await pull(proxy.url, { repository, reference: 'v1' });
  expect(mirror.journal.count({ reference: 'v1' })).toBe(0);
  expect(origin.journal.count({ reference: 'v1' })).toBeGreaterThan(0);
  const byDigest = (entry: JournalEntry) => entry.reference?.startsWith('sha256:') === true;
  expect(mirror.journal.count(byDigest)).toBeGreaterThan(0);
});
