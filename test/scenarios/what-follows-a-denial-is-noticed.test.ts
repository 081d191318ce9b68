import { expect, test } from 'vitest';
import { blobPath, manifestPath, mustGet, repository } from '../helpers/cold-layer.ts';
import { startFakeUpstream } from '../helpers/fake-upstream.ts';
import { makeImage } from '../helpers/image.ts';
import { makeManualClock } from '../helpers/manual-clock.ts';
import { metric } from '../helpers/metrics.ts';
import { request } from '../helpers/request.ts';
import { startProxy } from '../helpers/start-proxy.ts';

const [good, bad] = [makeImage({ seed: 'good' }), makeImage({ seed: 'bad' })];
const agent = { 'user-agent': 'containerd/2.0.0' };
const layer = bad.layers[0]?.digest ?? '';

async function scene(failClosed = false) {
  const upstream = await startFakeUpstream();
  for (const name of [repository, 'org/other']) {
    upstream.add(name, good, 'v1');
    upstream.add(name, bad, 'latest');
  }
  const clock = makeManualClock();
  const proxy = await startProxy({
    registries: { 'ghcr.io': upstream },
    policy: { rules: [{ images: ['**'], tags: ['latest'], action: 'deny' }], failClosed },
    clock,
  });
  return {
    proxy,
    clock,
    /** What a containerd that uses this mirror is told. */
    ask: async (path: string, method = 'GET') => {
      const answer = await request(proxy.url, `${path}?ns=ghcr.io`, { method, headers: agent });
      return answer.status;
    },
    attempts: () => metric(proxy.url, 'entrepot_bypass_attempts_total', 'registry="ghcr.io"'),
    warnings: () => proxy.logs.lines.filter(({ message }) => message.includes('goes around the policy')),
  };
}

test.each([false, true])(
  'a client that is denied a tag and asks for its content by digest is counted and logged (failClosed: %s)',
  async (failClosed) => {
    const { ask, attempts, warnings } = await scene(failClosed);
    expect(await ask(manifestPath('latest'), 'HEAD')).toBe(failClosed ? 200 : 403);
    expect([await attempts(), warnings().length]).toEqual([0, 0]);
    // containerd has resolved the tag at the registry itself by now.
    const content = [manifestPath(bad.manifest.digest), blobPath(bad.config.digest), blobPath(layer)];
    for (const path of content) expect(await ask(path), path).toBe(403);
    expect(await attempts()).toBe(3);
    expect(warnings().map(({ fields }) => fields['reference'])).toEqual([
      bad.manifest.digest,
      bad.config.digest,
      layer,
    ]);
    expect(warnings()[0]).toMatchObject({
      level: 'warn',
      fields: { image: `ghcr.io/${repository}`, client: '127.0.0.1', agent: agent['user-agent'] },
    });
  },
);

test('what is denied without a denied tag before it is no attempt, only a denial', async () => {
  const { ask, attempts, warnings, proxy } = await scene();
  expect(await ask(manifestPath('latest', 'org/other'))).toBe(403);
  expect(await ask(manifestPath(bad.manifest.digest))).toBe(403);
  expect(await ask(blobPath(layer))).toBe(403);
  expect([await attempts(), warnings().length]).toEqual([0, 0]);
  expect(await metric(proxy.url, 'entrepot_denied_total', 'registry="ghcr.io"', 'route="manifest"')).toBe(2);
  expect(await metric(proxy.url, 'entrepot_denied_total', 'registry="ghcr.io"', 'route="blob"')).toBe(1);
});

test('what is allowed is no attempt, though it follows a denial', async () => {
  const { ask, attempts, proxy } = await scene();
  expect(await ask(manifestPath('latest'))).toBe(403);
  await mustGet(proxy.url, manifestPath('v1'));
  expect(await ask(manifestPath(good.manifest.digest))).toBe(200);
  expect(await ask(blobPath(good.config.digest))).toBe(200);
  expect(await attempts()).toBe(0);
});

test('ten minutes later it is no attempt any more', async () => {
  const { ask, attempts, clock } = await scene();
  await ask(manifestPath('latest'));
  clock.advance(10 * 60_000);
  expect(await ask(blobPath(layer))).toBe(403);
  expect(await attempts()).toBe(0);
  await ask(manifestPath('latest'));
  await ask(blobPath(layer));
  expect(await attempts()).toBe(1);
});

test('referrers of a denied image that are asked for are an attempt as well', async () => {
  const { ask, attempts, proxy } = await scene();
  await ask(manifestPath('latest'));
  expect(await ask(`/v2/${repository}/referrers/${bad.manifest.digest}`)).toBe(403);
  expect(await attempts()).toBe(1);
  expect(await metric(proxy.url, 'entrepot_denied_total', 'route="referrers"')).toBe(1);
});
