import { expect, test } from 'vitest';
import { blobPath, manifestPath, mustGet, repository } from '../helpers/cold-layer.ts';
import { historyOf } from '../helpers/control.ts';
import { startFakeUpstream } from '../helpers/fake-upstream.ts';
import { makeIndex, type TestIndex } from '../helpers/image.ts';
import { makeManualClock } from '../helpers/manual-clock.ts';
import { type ClientKind, pull } from '../helpers/pull.ts';
import { ociError, outcome, request } from '../helpers/request.ts';
import { type ProxyOptions, startProxy } from '../helpers/start-proxy.ts';

const tagTtl = 300_000;
const image = `ghcr.io/${repository}`;
const [locked, newer] = [makeIndex({ seed: 'locked' }), makeIndex({ seed: 'newer' })];

/** A lockfile that says what `v1` is. */
function lockfileOf({ manifest, images }: TestIndex) {
  const platforms = Object.fromEntries(images.map((each) => [each.platform, each.manifest.digest] as const));
  return {
    path: '/etc/images.lock.yaml',
    images: { [image]: { v1: { digest: manifest.digest, platforms } } },
  };
}

async function scene(policy: ProxyOptions['policy'] = { default: 'deny' }) {
  const upstream = await startFakeUpstream();
  upstream.add(repository, locked);
  upstream.add(repository, newer, 'v1', 'v2');
  const clock = makeManualClock();
  const options = {
    registries: { 'ghcr.io': { upstreams: [upstream], tagTtl } },
    policy: { ...policy, lockfile: lockfileOf(locked) },
    clock,
  };
  return { upstream, clock, options, proxy: await startProxy(options) };
}

const clients: readonly [ClientKind, object][] = [
  ['docker', { repository: `ghcr.io/${repository}` }],
  ['docker', { repository, base: '/ghcr.io' }],
  ['containerd', { repository, ns: 'ghcr.io' }],
  ['podman', { repository: `ghcr.io/${repository}` }],
];

test.each(clients)(
  '%s (%o) pulls what is locked, whole, although upstream moved the tag and the default is deny',
  async (client, how) => {
    const { proxy } = await scene();
    for (const platform of ['linux/amd64', 'linux/arm64']) {
      const pulled = await pull(proxy.url, { repository, reference: 'v1', client, platform, ...how });
      expect(pulled.digest).toBe(locked.manifest.digest);
    }
  },
);

test('what is locked is served by digest as well, before and after its tag was pulled', async () => {
  const { proxy } = await scene();
  const { digest } = locked.manifest;
  expect((await pull(proxy.url, { repository, reference: digest })).digest).toBe(digest);
  await mustGet(proxy.url, manifestPath('v1'));
  expect((await pull(proxy.url, { repository, reference: digest })).digest).toBe(digest);
});

test('other tags and other digests of the image are for the rules to decide', async () => {
  const { proxy } = await scene();
  await mustGet(proxy.url, manifestPath('v1'));
  const layer = newer.images[0]?.layers[0]?.digest ?? '';
  for (const path of [manifestPath('v2'), manifestPath(newer.manifest.digest), blobPath(layer)]) {
    const answer = await request(proxy.url, path);
    expect(outcome(answer), path).toBe('403 DENIED');
    expect(ociError(answer).message).toContain('for example: v1.');
  }
  const open = await scene({ default: 'allow' });
  expect((await mustGet(open.proxy.url, manifestPath('v2'))).digest).toBe(newer.manifest.digest);
  expect((await mustGet(open.proxy.url, manifestPath('v1'))).digest).toBe(locked.manifest.digest);
});

test('a rule that denies what is locked still does', async () => {
  const { proxy, upstream } = await scene({
    rules: [{ images: ['**'], digests: [locked.manifest.digest], action: 'deny', reason: 'CVE-2026-1' }],
  });
  for (const reference of ['v1', locked.manifest.digest]) {
    const answer = await request(proxy.url, manifestPath(reference));
    expect(outcome(answer)).toBe('403 DENIED');
    expect(ociError(answer).message).toContain('CVE-2026-1');
  }
  // What it consists of is looked up, so that its parts are denied too; nothing of them is fetched.
  expect(upstream.journal.count({ kind: 'blob' })).toBe(0);
});

test('a tag that was pulled before it was locked is what the lockfile says at once, and what the next one says', async () => {
  const { proxy, options, upstream } = await scene({ default: 'allow' });
  const { lockfile, ...unlocked } = options.policy;
  Object.assign(options, { policy: unlocked });
  await proxy.restart();
  expect((await mustGet(proxy.url, manifestPath('v1'))).digest).toBe(newer.manifest.digest);
  Object.assign(options, { policy: { ...unlocked, lockfile } });
  await proxy.restart();
  upstream.journal.clear();
  expect((await mustGet(proxy.url, manifestPath('v1'))).digest).toBe(locked.manifest.digest);
  expect(upstream.journal.count({ kind: 'manifest', reference: 'v1' })).toBe(0);
  Object.assign(options, { policy: { ...unlocked, lockfile: lockfileOf(newer) } });
  await proxy.restart();
  expect((await mustGet(proxy.url, manifestPath('v1'))).digest).toBe(newer.manifest.digest);
  expect(await historyOf(proxy, image)).toEqual([
    `moved ${newer.manifest.digest}`,
    `locked ${locked.manifest.digest}`,
    `locked ${newer.manifest.digest}`,
  ]);
});

test('what upstream says of a locked tag is noted, while the locked digest is served without waiting', async () => {
  const { proxy, upstream, clock } = await scene();
  const noted = upstream.journal.next({ method: 'HEAD', reference: 'v1', state: 'done' });
  await mustGet(proxy.url, manifestPath('v1'));
  await noted;
  // Upstream's answer was read before requests that came later are answered.
  for (let count = 0; count < 3; count += 1) await mustGet(proxy.url, '/v2/');
  const hang = upstream.script({ match: { method: 'HEAD' }, hang: true });
  clock.advance(2 * tagTtl);
  const answer = await mustGet(proxy.url, manifestPath('v1'));
  expect(answer.digest).toBe(locked.manifest.digest);
  await hang.reached();
  expect(await historyOf(proxy, image)).toEqual([
    `locked ${locked.manifest.digest}`,
    `moved ${newer.manifest.digest}`,
  ]);
});

test('a locked digest that upstream no longer has is 404, not what the tag names now', async () => {
  const { proxy, upstream } = await scene();
  upstream.script({ match: { reference: locked.manifest.digest }, status: 404 });
  expect(outcome(await request(proxy.url, manifestPath('v1')))).toBe('404 MANIFEST_UNKNOWN');
});
