import { createHash } from 'node:crypto';
import { expect, test } from 'vitest';
import type { Digest } from '../../src/oci/digest.ts';
import { mediaTypes } from '../../src/oci/media-types.ts';
import { blobPath, manifestPath, mustGet, repository } from '../helpers/cold-layer.ts';
import { type FakeUpstream, startFakeUpstream } from '../helpers/fake-upstream.ts';
import { descriptorOf, makeArtifact, makeImage, makeIndex, manifestOf } from '../helpers/image.ts';
import { makeManualClock } from '../helpers/manual-clock.ts';
import type { ConfigOptions } from '../helpers/proxy-config.ts';
import { type Answer, ociError, request } from '../helpers/request.ts';
import { type ProxyOptions, startProxy } from '../helpers/start-proxy.ts';

const bad = makeIndex({ seed: 'bad' });
const good = makeImage({ seed: 'good' });
const signature = makeArtifact(bad.manifest, { seed: 'signature' });
const hour = 3600_000;

type Policy = NonNullable<ConfigOptions['policy']>;

const policy: Policy = {
  rules: [{ images: ['**'], digests: [bad.manifest.digest], action: 'deny', reason: 'CVE' }],
};

async function makeUpstream(lists: boolean): Promise<FakeUpstream> {
  const upstream = await startFakeUpstream({ referrers: lists });
  upstream.add(repository, bad, 'v1');
  upstream.add(repository, good, 'v2');
  upstream.add(repository, signature);
  upstream.add('org/other', good, 'v2');
  return upstream;
}

async function scene(options: ProxyOptions = {}, { lists = true } = {}) {
  const upstream = await makeUpstream(lists);
  const proxy = await startProxy({
    registries: { 'ghcr.io': { upstreams: [upstream], negativeTtl: 0 } },
    policy,
    ...options,
  });
  const ask = (path: string, headers = {}): Promise<Answer> => request(proxy.url, path, { headers });
  const status = async (path: string, headers = {}) => (await ask(path, headers)).status;
  const lookUps = (of: string) =>
    upstream.journal.count({ kind: 'manifest', repository: of, reference: bad.manifest.digest });
  return { upstream, proxy, ask, status, lookUps };
}

const parts = [
  ...bad.images.flatMap((image): [string, string][] => [
    [`the ${image.platform} image`, manifestPath(image.manifest.digest)],
    [`its config`, blobPath(image.config.digest)],
    ...image.layers.map((layer): [string, string] => ['a layer of it', blobPath(layer.digest)]),
  ]),
  ['what is listed as referring to it', `/v2/${repository}/referrers/${bad.manifest.digest}`],
  ['its signature', manifestPath(signature.manifest.digest)],
  ['what was signed', blobPath(signature.layers[0]?.digest ?? '')],
] satisfies [string, string][];

test.each(parts)(
  '%s is denied although no rule names it and nobody asked for more before',
  async (_, path) => {
    const { ask, status } = await scene();
    const answer = await ask(path, { range: 'bytes=0-5' });
    expect(answer.status).toBe(403);
    expect(ociError(answer)).toMatchObject({ code: 'DENIED', message: expect.stringContaining('CVE') });
    expect(await status(path)).toBe(403);
  },
);

test.each([['v1'], [bad.manifest.digest]])(
  'all of it is denied after %s was asked for',
  async (reference) => {
    const { proxy, status } = await scene();
    expect(await status(manifestPath(reference))).toBe(403);
    for (const [, path] of parts) expect(await status(path)).toBe(403);
    await mustGet(proxy.url, manifestPath('v2'));
    await mustGet(proxy.url, blobPath(good.config.digest));
  },
);

test('what turns out to refer to it, once it was fetched, is denied although its upstream lists no referrers', async () => {
  const { status } = await scene({}, { lists: false });
  expect(await status(manifestPath(signature.manifest.digest))).toBe(403);
  expect(await status(blobPath(signature.layers[0]?.digest ?? ''))).toBe(403);
});

test.each(['provenance', 'allow', 'deny'] as const)(
  'a tag that is derived from what is allowed does not lead to it (digests: %s)',
  async (digests) => {
    const { upstream, proxy, status } = await scene({ policy: { ...policy, digests } });
    const tag = `${good.manifest.digest.replace(':', '-')}.sig`;
    upstream.content.setTag(repository, tag, bad.manifest.digest);
    await mustGet(proxy.url, manifestPath('v2'));
    expect(await status(manifestPath(tag))).toBe(403);
    expect(await status(manifestPath(bad.manifest.digest))).toBe(403);
    for (const [, path] of parts) expect(await status(path)).toBe(403);
  },
);

test('its name by another algorithm does not lead to it', async () => {
  const { upstream, proxy, status } = await scene();
  const hash = createHash('sha512').update(bad.manifest.bytes).digest('hex');
  const alias = { ...bad.manifest, digest: `sha512:${hash}` as Digest };
  upstream.content.addManifest(repository, alias, 'v512');
  expect(await status(manifestPath(alias.digest))).toBe(403);
  expect(await status(manifestPath('v512'))).toBe(403);
  expect(await status(manifestPath(alias.digest))).toBe(403);
  for (const [, path] of parts) expect(await status(path)).toBe(403);
  await mustGet(proxy.url, manifestPath(good.manifest.digest));
});

test('its parts are denied although it refers to one of them, so that the ways to it go round in a circle', async () => {
  const part = makeImage({ seed: 'in a circle' });
  const circle = manifestOf(
    {
      schemaVersion: 2,
      mediaType: mediaTypes.ociIndex,
      manifests: [descriptorOf(part.manifest)],
      subject: descriptorOf(part.manifest),
    },
    mediaTypes.ociIndex,
  );
  const { upstream, proxy, status } = await scene({
    policy: { rules: [{ images: ['**'], digests: [circle.digest], action: 'deny' }] },
  });
  upstream.add(repository, part);
  upstream.content.addManifest(repository, circle);
  expect(await status(manifestPath(part.manifest.digest))).toBe(403);
  expect(await status(blobPath(part.config.digest))).toBe(403);
  await mustGet(proxy.url, manifestPath(good.manifest.digest));
});

const hidden = makeImage({ seed: 'hidden' });
const unreadable = manifestOf(
  {
    schemaVersion: 2,
    mediaType: mediaTypes.ociIndex,
    manifests: [descriptorOf(hidden.manifest)],
    layers: [],
  },
  mediaTypes.ociIndex,
);

test.each([
  ['cannot be read', {}],
  ['is withheld by its upstream', { status: 403 }],
])('where it %s, what no tag leads to is denied, since it may be a part of it', async (_, fault) => {
  const { upstream, proxy, ask, status } = await scene({
    policy: { rules: [{ images: ['**'], digests: [unreadable.digest], action: 'deny' }] },
  });
  upstream.add(repository, hidden);
  upstream.content.addManifest(repository, unreadable);
  if ('status' in fault) upstream.script({ ...fault, match: { reference: unreadable.digest } });
  const answer = await ask(manifestPath(hidden.manifest.digest));
  expect(answer.status).toBe(403);
  expect(ociError(answer).message).toContain('cannot be found out');
  expect(await status(blobPath(hidden.config.digest))).toBe(403);
  await mustGet(proxy.url, manifestPath('v2'));
  await mustGet(proxy.url, blobPath(good.config.digest));
});

test('with every other digest trusted, those that a rule denies are not, nor their parts', async () => {
  const { proxy, status } = await scene({ policy: { ...policy, digests: 'allow' } });
  await mustGet(proxy.url, manifestPath(good.manifest.digest));
  for (const [, path] of parts) expect(await status(path)).toBe(403);
  expect(await status(manifestPath(bad.manifest.digest))).toBe(403);
});

test('what was pulled before the rule came is denied as well', async () => {
  const first = await scene({ policy: { rules: [] } });
  const [image] = bad.images;
  const path = manifestPath(image?.manifest.digest ?? '');
  await mustGet(first.proxy.url, path);
  await first.proxy.close();
  const { storagePath } = first.proxy;
  const proxy = await startProxy({ registries: { 'ghcr.io': first.upstream }, policy, storagePath });
  expect((await request(proxy.url, path)).status).toBe(403);
});

test('where the denied digest does not exist it is asked for once, and not at all for what a tag leads to', async () => {
  const { proxy, lookUps } = await scene();
  await mustGet(proxy.url, manifestPath('v2', 'org/other'));
  await mustGet(proxy.url, blobPath(good.config.digest, 'org/other'));
  expect(lookUps('org/other')).toBe(0);
  await mustGet(proxy.url, `/v2/${repository}/manifests/${good.manifest.digest}`);
  expect(lookUps(repository)).toBeGreaterThan(0);
});

test('an image that is pulled by digest only stays available while its upstream is down', async () => {
  const clock = makeManualClock();
  const { upstream, proxy, lookUps } = await scene({ clock });
  const paths = [manifestPath(good.manifest.digest, 'org/other'), blobPath(good.config.digest, 'org/other')];
  for (const path of paths) await mustGet(proxy.url, path);
  expect(lookUps('org/other')).toBe(1);
  await upstream.refuse();
  clock.advance(2 * hour);
  for (const path of paths) await mustGet(proxy.url, path);
  await proxy.restart();
  for (const path of paths) await mustGet(proxy.url, path);
});

test('after an hour it is looked up again, for which no client waits', async () => {
  const clock = makeManualClock();
  const { upstream, proxy } = await scene({ clock });
  const path = manifestPath(good.manifest.digest, 'org/other');
  await mustGet(proxy.url, path);
  upstream.add('org/other', bad);
  clock.advance(hour);
  await mustGet(proxy.url, path);
  await upstream.journal.wait({ repository: 'org/other', reference: bad.manifest.digest }, 3);
  const [image] = bad.images;
  await expect
    .poll(async () => {
      const { status } = await request(proxy.url, blobPath(image?.config.digest ?? '', 'org/other'));
      return status;
    })
    .toBe(403);
});

test('while nobody can tell what is denied, what no tag leads to is not served, and says why', async () => {
  const { upstream, proxy, ask, status } = await scene();
  await mustGet(proxy.url, manifestPath('v2'));
  upstream.script({ status: 503, match: { kind: 'manifest', reference: bad.manifest.digest } });
  const answer = await ask(manifestPath(good.manifest.digest, 'org/other'));
  expect(answer.status).toBe(503);
  expect(ociError(answer)).toMatchObject({ code: 'UNAVAILABLE', message: expect.stringContaining('policy') });
  await mustGet(proxy.url, blobPath(good.config.digest));
  upstream.heal();
  await expect.poll(() => status(manifestPath(good.manifest.digest, 'org/other'))).toBe(200);
});
