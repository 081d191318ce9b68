import { expect, test } from 'vitest';
import { manifestPath, mustGet, repository } from '../helpers/cold-layer.ts';
import { historyOf } from '../helpers/control.ts';
import { type FakeUpstreamOptions, startFakeUpstream } from '../helpers/fake-upstream.ts';
import { makeImage, type TestImage } from '../helpers/image.ts';
import { makeManualClock } from '../helpers/manual-clock.ts';
import { pull } from '../helpers/pull.ts';
import { outcome, request } from '../helpers/request.ts';
import { startProxy } from '../helpers/start-proxy.ts';

const tagTtl = 300_000;
const day = 24 * 3600_000;
const image = `ghcr.io/${repository}`;
const [first, second, third] = [
  makeImage({ seed: 'first' }),
  makeImage({ seed: 'second' }),
  makeImage({ seed: 'third' }),
];

async function scene(options: FakeUpstreamOptions = {}) {
  const upstream = await startFakeUpstream(options);
  upstream.add(repository, first, 'v1');
  for (const later of [second, third]) upstream.add(repository, later);
  const clock = makeManualClock();
  const proxy = await startProxy({
    registries: { 'ghcr.io': { upstreams: [upstream], tagTtl } },
    policy: {
      default: 'deny',
      rules: [{ images: ['**'], tags: ['v*'], action: 'allow', minAge: 3 * day }],
    },
    clock,
  });
  return {
    upstream,
    clock,
    proxy,
    move: ({ manifest }: TestImage) => upstream.content.setTag(repository, 'v1', manifest.digest),
    /** What the tag is served as, after some time. */
    async after(ms: number): Promise<string> {
      clock.advance(ms);
      const { digest } = await mustGet(proxy.url, manifestPath('v1'));
      return nameOf(digest);
    },
  };
}

function nameOf(digest: string): string {
  const found = Object.entries({ first, second, third }).find(
    ([, { manifest }]) => manifest.digest === digest,
  );
  return found?.[0] ?? digest;
}

test('the previous digest is served until the new one has been known for three days', async () => {
  const { proxy, upstream, move, after } = await scene();
  expect(await after(0)).toBe('first');
  move(second);
  expect(await after(tagTtl)).toBe('first');
  expect(await after(day)).toBe('first');
  expect(await after(2 * day - 1)).toBe('first');
  expect(upstream.journal.count({ method: 'GET', kind: 'manifest' })).toBe(1);
  expect(await after(tagTtl)).toBe('second');
  const moves = [first, second].map(({ manifest }) => `moved ${manifest.digest}`);
  expect(await historyOf(proxy, image)).toEqual(moves);
  expect((await pull(proxy.url, { repository, reference: 'v1' })).digest).toBe(second.manifest.digest);
});

test('the wait goes on over a restart', async () => {
  const { proxy, move, after } = await scene();
  await after(0);
  move(second);
  await after(tagTtl);
  await proxy.restart();
  expect(await after(3 * day - 1)).toBe('first');
  await proxy.restart();
  expect(await after(tagTtl)).toBe('second');
});

test('a digest that upstream takes back in time is never served', async () => {
  const { proxy, move, after } = await scene();
  await after(0);
  move(second);
  expect(await after(tagTtl)).toBe('first');
  move(third);
  expect(await after(2 * day)).toBe('first');
  expect(await after(2 * day)).toBe('first');
  expect(await after(day)).toBe('third');
  const moves = [first, second, third].map(({ manifest }) => `moved ${manifest.digest}`);
  expect(await historyOf(proxy, image)).toEqual(moves);
});

test('where the default is deny, whoever knows the young digest cannot have it by its digest either', async () => {
  const { proxy, move, after } = await scene();
  await after(0);
  move(second);
  await after(tagTtl);
  const path = manifestPath(second.manifest.digest);
  expect(outcome(await request(proxy.url, path))).toBe('403 DENIED');
  await after(3 * day);
  expect(outcome(await request(proxy.url, path))).toBe('200');
});

test.each([
  ['that names no digest on HEAD', { digestHeader: false }],
  ['that knows no HEAD', { head: false }],
])('it holds for an upstream %s', async (_what, options) => {
  const { proxy, move, after } = await scene(options);
  expect(await after(0)).toBe('first');
  move(second);
  expect(await after(tagTtl)).toBe('first');
  expect(outcome(await request(proxy.url, manifestPath(second.manifest.digest)))).toBe('403 DENIED');
  expect(await after(3 * day)).toBe('second');
});

test('the previous digest is served when upstream cannot be reached, and when it is, its age counts', async () => {
  const { upstream, move, after } = await scene();
  await after(0);
  move(second);
  await after(tagTtl);
  await upstream.refuse();
  expect(await after(3 * day)).toBe('first');
  await upstream.accept();
  expect(await after(tagTtl)).toBe('second');
});
