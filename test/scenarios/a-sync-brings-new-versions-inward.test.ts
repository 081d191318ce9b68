import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test, vi } from 'vitest';
import { runCli } from '../cli/run-cli.ts';
import { blobPath, manifestPath, mustGet, repository } from '../helpers/cold-layer.ts';
import { startFakeUpstream } from '../helpers/fake-upstream.ts';
import { makeArtifact, makeIndex, type TestIndex } from '../helpers/image.ts';
import { makeJumpingClock } from '../helpers/manual-clock.ts';
import { metric } from '../helpers/metrics.ts';
import { patience } from '../helpers/patience.ts';
import { pull } from '../helpers/pull.ts';
import { request } from '../helpers/request.ts';
import {
  type ProxyOptions,
  type RunningProxy,
  startProxy,
  temporaryDirectory,
} from '../helpers/start-proxy.ts';

const image = `ghcr.io/${repository}`;
const day = 24 * 3_600_000;
const version = (seed: string) => makeIndex({ seed, layers: [20_000, 10_000] });
const platform = (index: TestIndex, wanted: string) => {
  const found = index.images.find((each) => each.platform === wanted);
  if (found === undefined) throw new Error(`no image for ${wanted}`);
  return found;
};

const versions = ['1.2.0', '1.3.0', '1.10.0', '2.0.0-rc.1', 'latest'].map((tag) => ({
  tag,
  index: version(tag),
}));
const entry = { image, semver: '>=1', newest: 2, platforms: ['linux/amd64'], schedule: '0 3 * * *' };

async function scene(options: Partial<ProxyOptions> = {}) {
  const upstream = await startFakeUpstream();
  for (const { tag, index } of versions) upstream.add(repository, index, tag);
  const clock = makeJumpingClock();
  const proxy = await startProxy({
    registries: { 'ghcr.io': upstream },
    sync: [entry],
    clock,
    ...options,
  });
  const runs = () => proxy.logs.lines.filter(({ message }) => /^sync ended/.test(message));
  const ran = (count: number) => vi.waitUntil(() => runs().length >= count, { timeout: patience });
  return { upstream, proxy, clock, runs, ran };
}

/** Pulls as a client does while the upstream is away. */
async function pullsAlone(
  { upstream, proxy }: Pick<Awaited<ReturnType<typeof scene>>, 'upstream' | 'proxy'>,
  tag: string,
) {
  await upstream.refuse();
  try {
    return await pull(proxy.url, { repository, reference: tag });
  } finally {
    await upstream.accept();
  }
}

/** Runs a command against a server, through its control socket. */
async function command(proxy: RunningProxy, ...args: string[]) {
  const cwd = await temporaryDirectory();
  const registries = { 'ghcr.io': { upstreams: [{ url: 'http://127.0.0.1:1', insecure: true }] } };
  const config = { storage: { path: proxy.storagePath }, defaultRegistry: 'ghcr.io', registries };
  writeFileSync(join(cwd, 'config.yaml'), JSON.stringify(config));
  return runCli(args, { cwd });
}

test('the newest versions are there before anybody pulls them, for the platform that is wanted', async () => {
  const { upstream, proxy, ran, runs } = await scene();
  await ran(1);
  expect(runs()[0]?.fields).toMatchObject({ image, cause: 'missed', added: 2, failed: 0 });
  for (const { tag, index } of versions.slice(1, 3)) {
    const pulled = await pullsAlone({ upstream, proxy }, tag);
    // The index is the original, although only one of its platforms is here.
    expect(pulled.digest).toBe(index.manifest.digest);
    expect(new Set(pulled.outcomes.slice(-3))).toEqual(new Set(['hit']));
  }
  const others = versions.filter(({ tag }) => !['1.3.0', '1.10.0'].includes(tag));
  const digests = others.map(({ index }) => index.manifest.digest);
  expect(upstream.journal.filter(({ reference = '' }) => digests.some((each) => each === reference))).toEqual(
    [],
  );
  expect(await metric(proxy.url, 'entrepot_sync_tags_total', 'result="added"')).toBe(2);
});

test('another platform is fetched when it is pulled', async () => {
  const { upstream, proxy, clock, ran } = await scene();
  await ran(1);
  const index = versions[2]?.index ?? version('');
  const arm64 = platform(index, 'linux/arm64');
  const asked = () => upstream.journal.count({ reference: arm64.manifest.digest });
  expect(asked()).toBe(0);
  await upstream.refuse();
  expect((await request(proxy.url, manifestPath(arm64.manifest.digest))).status).toBe(503);
  await upstream.accept();
  clock.advance(60_000);
  const pulled = await pull(proxy.url, { repository, reference: '1.10.0', platform: 'linux/arm64' });
  expect(pulled.digest).toBe(index.manifest.digest);
  expect(asked()).toBeGreaterThan(0);
});

test('a new version comes with the next run, a moved tag too, and what is unchanged costs no download', async () => {
  const { upstream, proxy, clock, ran, runs } = await scene();
  await ran(1);
  const next = version('1.11.0');
  const moved = version('1.10.0 again');
  upstream.add(repository, next, '1.11.0');
  upstream.add(repository, moved, '1.10.0');
  upstream.journal.clear();
  clock.advance(day);
  await ran(2);
  expect(runs()[1]?.fields).toMatchObject({ cause: 'schedule', added: 1, moved: 1, unchanged: 0, failed: 0 });
  expect((await pullsAlone({ upstream, proxy }, '1.11.0')).digest).toBe(next.manifest.digest);
  expect((await pullsAlone({ upstream, proxy }, '1.10.0')).digest).toBe(moved.manifest.digest);
  upstream.journal.clear();
  clock.advance(day);
  await ran(3);
  expect(runs()[2]?.fields).toMatchObject({ unchanged: 2, added: 0, moved: 0, bytes: 0 });
  expect(upstream.journal.count({ kind: 'blob' })).toBe(0);
});

test('signatures and SBOMs come along', async () => {
  const index = versions[2]?.index ?? version('');
  const sbom = makeArtifact(index.manifest);
  const upstream = await startFakeUpstream();
  upstream.add(repository, index, '1.10.0');
  upstream.add(repository, sbom);
  const { proxy, ran } = await scene({ registries: { 'ghcr.io': upstream } });
  await ran(1);
  await upstream.refuse();
  const referrers = await mustGet(proxy.url, `/v2/${repository}/referrers/${index.manifest.digest}`);
  expect(referrers.text).toContain(sbom.manifest.digest);
  await mustGet(proxy.url, manifestPath(sbom.manifest.digest));
  await mustGet(proxy.url, blobPath(sbom.layers[0]?.digest ?? ''));
});

test('versions that policy denies are neither fetched nor counted', async () => {
  const { upstream, proxy, ran, runs } = await scene({
    policy: { rules: [{ images: [image], tags: ['1.10.*'], action: 'deny' }] },
  });
  await ran(1);
  expect(runs()[0]?.fields).toMatchObject({ added: 2, failed: 0 });
  await pullsAlone({ upstream, proxy }, '1.3.0');
  await pullsAlone({ upstream, proxy }, '1.2.0');
  expect(upstream.journal.count({ kind: 'manifest', reference: '1.10.0' })).toBe(0);
});

test('an upstream that is down is reported, and what was here stays', async () => {
  const { upstream, proxy, clock, ran, runs } = await scene();
  await ran(1);
  await upstream.refuse();
  clock.advance(day);
  await ran(2);
  expect(runs()[1]).toMatchObject({ level: 'warn', fields: { failed: 1, unchanged: 0 } });
  await upstream.accept();
  expect((await pullsAlone({ upstream, proxy }, '1.10.0')).outcomes).toContain('hit');
});

test('on demand: "entrepot sync --now" fetches and tells, "entrepot sync" shows what was', async () => {
  const { upstream, proxy } = await scene({
    sync: [{ image, newest: 1, platforms: ['linux/amd64'] }],
  });
  const before = await command(proxy, 'sync');
  expect(before.stdout).toMatch(/^IMAGE +TAGS +PLATFORMS +SCHEDULE +NEXT +LAST +RESULT$/m);
  expect(before.stdout).toMatch(/^ghcr\.io\/org\/app +newest 1 +linux\/amd64 +on demand +- +never$/m);
  const run = await command(proxy, 'sync', '--now', image);
  expect(run).toMatchObject({ code: 0, stderr: '' });
  expect(run.stdout.split('\n')).toEqual([
    `${image}: asking for its tags`,
    `${image}: 1.10.0`,
    `${image}:1.10.0 added`,
    expect.stringMatching(/^ghcr\.io\/org\/app: 1 added \(\d+ requests, [\d.]+KiB\)$/),
    '',
  ]);
  await pullsAlone({ upstream, proxy }, '1.10.0');
  expect((await command(proxy, 'sync')).stdout).toContain('1 added');
  const json = await command(proxy, 'sync', '--now', '--json');
  const events = json.stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>);
  expect(events.map(({ kind }) => kind)).toEqual(['begun', 'selected', 'tag', 'ended', 'done']);
  expect(events[2]).toMatchObject({ tag: '1.10.0', result: 'unchanged' });
  expect(events[3]).toMatchObject({ unchanged: ['1.10.0'], startedAt: expect.stringMatching(/Z$/) });
  upstream.content.deleteTag(repository, '1.10.0');
  await upstream.refuse();
  const failed = await command(proxy, 'sync', '--now');
  expect(failed.code).toBe(1);
  expect(failed.stdout).toContain('1 failed');
});

test('an image that is not under "sync" is refused by name', async () => {
  const { proxy } = await scene({ sync: [] });
  const run = await command(proxy, 'sync', '--now', 'ghcr.io/org/other');
  expect(run.code).toBe(1);
  expect(run.stderr).toContain('ghcr.io/org/other is not synced: the configuration has no such entry');
  expect((await command(proxy, 'sync', '--now')).stderr).toContain('nothing to sync');
  expect((await command(proxy, 'sync')).stdout).toContain('nothing is synced');
  expect((await command(proxy, 'sync', 'ghcr.io/org/other')).code).toBe(2);
});
