import { expect, test } from 'vitest';
import { blobPath, manifestPath, mustGet, repository, settled } from '../helpers/cold-layer.ts';
import { makeImage } from '../helpers/image.ts';
import { makeJumpingClock } from '../helpers/manual-clock.ts';
import { metric } from '../helpers/metrics.ts';
import { pull } from '../helpers/pull.ts';
import { outcome, request } from '../helpers/request.ts';
import { severalUpstreams, upstreamsWith } from '../helpers/several-upstreams.ts';
import { startProxy } from '../helpers/start-proxy.ts';

const notPing = (entry: { kind: string }) => entry.kind !== 'ping';

test('an upstream that answers 429 with Retry-After is left alone until then, and the other serves', async () => {
  const clock = makeJumpingClock();
  const sizes = Array.from({ length: 9 }, (_, index) => 100_000 + index);
  const { a, proxy, image } = await severalUpstreams(sizes, { clock });
  const limit = a.script({ match: { kind: 'blob' }, status: 429, headers: { 'retry-after': '90' } });
  const rest = [...image.layers];
  const pullNext = async (count: number) => {
    for (const { digest } of rest.splice(0, count)) {
      expect((await mustGet(proxy.url, blobPath(digest))).digest).toBe(digest);
      await settled(proxy, blobPath(digest));
    }
  };
  await pullNext(3);
  expect(limit.hits).toBe(1);
  clock.advance(85_000);
  await pullNext(3);
  expect(limit.hits).toBe(1);

  limit.remove();
  const asked = a.journal.count(notPing);
  clock.advance(6_000);
  await pullNext(3);
  expect(a.journal.count(notPing)).toBeGreaterThan(asked);
});

test('when every upstream limits, the client gets an honest 429 with the soonest Retry-After', async () => {
  const { a, b, proxy, path } = await severalUpstreams([100_000]);
  a.script({ match: { kind: 'blob' }, status: 429, headers: { 'retry-after': '90' } });
  b.script({ match: { kind: 'blob' }, status: 429, headers: { 'retry-after': '40' } });
  const answer = await request(proxy.url, path);
  expect(outcome(answer)).toBe('429 TOOMANYREQUESTS');
  const seconds = Number(answer.headers['retry-after']);
  expect(seconds).toBeGreaterThan(0);
  expect(seconds).toBeLessThanOrEqual(40);
});

test('clients that ask a limited upstream again and again cost it no request', async () => {
  const { a, b, proxy, path } = await severalUpstreams([100_000]);
  for (const upstream of [a, b]) {
    upstream.script({ match: { kind: 'blob' }, status: 429, headers: { 'retry-after': '90' } });
  }
  await request(proxy.url, path);
  const asked = a.journal.count(notPing) + b.journal.count(notPing);
  for (let times = 0; times < 10; times += 1) {
    const answer = await request(proxy.url, path);
    expect(outcome(answer)).toBe('429 TOOMANYREQUESTS');
    expect(Number(answer.headers['retry-after'])).toBeGreaterThan(0);
  }
  expect(a.journal.count(notPing) + b.journal.count(notPing)).toBe(asked);
});

test('a tag whose upstreams limit is served stale', async () => {
  const clock = makeJumpingClock();
  const { a, b, proxy, image } = await severalUpstreams([10], { clock });
  for (const upstream of [a, b]) upstream.script({ status: 429, headers: { 'retry-after': '90' } });
  clock.advance(300_001);
  const answer = await mustGet(proxy.url, manifestPath('v1'));
  expect(answer.headers['x-cache']).toBe('stale');
  expect(answer.digest).toBe(image.manifest.digest);
});

test('the budget that an upstream announces is a metric', async () => {
  const { a, proxy, path } = await severalUpstreams([100_000], { configured: [{}] });
  a.script({ headers: { 'ratelimit-limit': '100;w=21600', 'ratelimit-remaining': '76;w=21600' } });
  await mustGet(proxy.url, path);
  const { text } = await mustGet(proxy.url, '/metrics');
  expect(text).toContain(`entrepot_upstream_budget_remaining{registry="ghcr.io",upstream="${a.host}"} 76`);
});

test('however many pulls there are, each upstream is asked for one token a scope', async () => {
  const layers = Array.from({ length: 20 }, (_, index) => 50_000 + index);
  const { all, image, registries } = await upstreamsWith(layers, { fake: { auth: { kind: 'bearer' } } });
  const other = makeImage({ seed: 'other', layers });
  for (const upstream of all) upstream.add('org/other', other, 'v1');
  const proxy = await startProxy({ registries });
  const pulls = [repository, 'org/other'].flatMap((name) => {
    return Array.from({ length: 8 }, () => pull(proxy.url, { repository: name, reference: 'v1' }));
  });
  for (const { blobs } of await Promise.all(pulls)) expect(blobs.size).toBe(21);
  for (const upstream of all) {
    const scopes = upstream.journal.filter({ kind: 'token' }).map((entry) => entry.query['scope']);
    expect(scopes).toEqual([...new Set(scopes)]);
  }
  expect(image.layers).toHaveLength(20);
  expect(await metric(proxy.url, 'entrepot_requests_total', 'status="429"')).toBe(0);
});
