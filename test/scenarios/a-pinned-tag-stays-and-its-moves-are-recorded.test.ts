import { expect, test } from 'vitest';
import { manifestPath, mustGet, repository } from '../helpers/cold-layer.ts';
import { control, historyOf } from '../helpers/control.ts';
import { startFakeUpstream } from '../helpers/fake-upstream.ts';
import { makeImage, type TestImage } from '../helpers/image.ts';
import { makeManualClock } from '../helpers/manual-clock.ts';
import { metric } from '../helpers/metrics.ts';
import { pull } from '../helpers/pull.ts';
import { type ProxyOptions, startProxy } from '../helpers/start-proxy.ts';

const tagTtl = 300_000;
const image = `ghcr.io/${repository}`;
const [first, second, third] = [
  makeImage({ seed: 'first' }),
  makeImage({ seed: 'second' }),
  makeImage({ seed: 'third' }),
];
const pinned = { rules: [{ images: ['**'], tags: ['v*'], action: 'allow', pin: true }] } as const;

async function scene(policy: NonNullable<ProxyOptions['policy']> = pinned) {
  const upstream = await startFakeUpstream();
  upstream.add(repository, first, 'v1');
  for (const later of [second, third]) upstream.add(repository, later);
  const clock = makeManualClock();
  const options = { registries: { 'ghcr.io': { upstreams: [upstream], tagTtl } }, policy, clock };
  const proxy = await startProxy(options);
  return {
    upstream,
    clock,
    options,
    proxy,
    digest: async () => (await mustGet(proxy.url, manifestPath('v1'))).digest,
    /** Moves the tag upstream, lets the answer expire, pulls, and waits until the server has looked. */
    async move({ manifest }: TestImage) {
      upstream.content.setTag(repository, 'v1', manifest.digest);
      clock.advance(tagTtl);
      const looked = upstream.journal.next({
        method: 'HEAD',
        kind: 'manifest',
        reference: 'v1',
        state: 'done',
      });
      const answer = await mustGet(proxy.url, manifestPath('v1'));
      await looked;
      await overtaken();
      return answer;
    },
    /** The log lines about moves. */
    told(count: number) {
      const moves = proxy.logs.lines.filter(({ message }) => message === 'tag moved upstream');
      expect(moves).toHaveLength(count);
      return moves;
    },
  };
  /** What upstream has answered was read before requests that came later are answered. */
  async function overtaken() {
    for (let count = 0; count < 3; count += 1) await mustGet(proxy.url, '/v2/');
  }
}

test('a pinned tag is served as what it was first, and a move upstream is logged, counted and in its history', async () => {
  const { proxy, upstream, move, told, digest } = await scene();
  expect(await digest()).toBe(first.manifest.digest);
  const answer = await move(second);
  expect(answer.digest).toBe(first.manifest.digest);
  expect(answer.headers['x-cache']).toBe('hit');
  const [line] = told(1);
  expect(line).toMatchObject({
    level: 'warn',
    fields: {
      image,
      tag: 'v1',
      old: first.manifest.digest,
      new: second.manifest.digest,
      upstream: upstream.host,
    },
  });
  expect(await metric(proxy.url, 'entrepot_tag_moves_total', 'registry="ghcr.io"')).toBe(1);
  const moved = [`moved ${first.manifest.digest}`, `moved ${second.manifest.digest}`];
  expect(await historyOf(proxy, image)).toEqual(moved);
  // The new manifest itself was not fetched, and whoever pulls gets all of the pinned one.
  expect(upstream.journal.count({ method: 'GET', kind: 'manifest' })).toBe(1);
  expect((await pull(proxy.url, { repository, reference: 'v1' })).digest).toBe(first.manifest.digest);
});

test('one move is recorded once, though it is seen again and again and over a restart', async () => {
  const { proxy, move, told, digest } = await scene();
  await digest();
  await move(second);
  told(1);
  await move(second);
  await proxy.restart();
  await move(second);
  await move(third);
  told(2);
  expect(await historyOf(proxy, image)).toEqual(
    [first, second, third].map(({ manifest }) => `moved ${manifest.digest}`),
  );
});

test('a pinned tag outlives its removal upstream', async () => {
  const { upstream, clock, digest } = await scene();
  await digest();
  upstream.content.deleteTag(repository, 'v1');
  clock.advance(tagTtl);
  for (let count = 0; count < 3; count += 1) expect(await digest()).toBe(first.manifest.digest);
});

test('a tag that is not pinned follows upstream, and its moves are recorded as well', async () => {
  const { proxy, upstream, clock, digest } = await scene({ rules: [] });
  await digest();
  upstream.content.setTag(repository, 'v1', second.manifest.digest);
  clock.advance(tagTtl);
  expect(await digest()).toBe(second.manifest.digest);
  const moved = [`moved ${first.manifest.digest}`, `moved ${second.manifest.digest}`];
  expect(await historyOf(proxy, image)).toEqual(moved);
  expect(await metric(proxy.url, 'entrepot_tag_moves_total')).toBe(1);
});

test('a rollback pins the tag to what is still stored, also over a restart, until it is released', async () => {
  const { proxy, upstream, clock, digest } = await scene({ rules: [] });
  await digest();
  upstream.content.setTag(repository, 'v1', second.manifest.digest);
  clock.advance(tagTtl);
  await digest();
  const wanted = { image, tag: 'v1' };
  const back = { ...wanted, digest: first.manifest.digest };
  expect(await control(proxy, 'POST', '/rollback', back)).toMatchObject({ status: 200 });
  expect(await digest()).toBe(first.manifest.digest);
  clock.advance(tagTtl);
  await proxy.restart();
  expect(await digest()).toBe(first.manifest.digest);
  expect(await control(proxy, 'DELETE', '/pins', wanted)).toMatchObject({ status: 200 });
  expect(await digest()).toBe(second.manifest.digest);
  expect(await historyOf(proxy, image)).toEqual([
    `moved ${first.manifest.digest}`,
    `moved ${second.manifest.digest}`,
    `rolled back ${first.manifest.digest}`,
    `released ${first.manifest.digest}`,
  ]);
});

test('a rollback to what is not stored is refused with what to do, and changes nothing', async () => {
  const { proxy, digest } = await scene({ rules: [] });
  await digest();
  const refused = await control(proxy, 'POST', '/rollback', {
    image,
    tag: 'v1',
    digest: third.manifest.digest,
  });
  expect(refused.status).toBe(404);
  expect(JSON.stringify(refused.body)).toContain('entrepot history');
  expect(await digest()).toBe(first.manifest.digest);
});

test('a rule that denies some digests does not loosen the pin', async () => {
  const denied = { images: ['**'], digests: [third.manifest.digest], action: 'deny' } as const;
  const { move, digest } = await scene({ rules: [denied, ...pinned.rules] });
  await digest();
  expect((await move(second)).digest).toBe(first.manifest.digest);
  expect((await move(third)).digest).toBe(first.manifest.digest);
});
