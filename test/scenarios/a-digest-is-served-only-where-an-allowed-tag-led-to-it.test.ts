import { expect, test } from 'vitest';
import { blobPath, manifestPath, mustGet, repository } from '../helpers/cold-layer.ts';
import { startFakeUpstream } from '../helpers/fake-upstream.ts';
import { makeArtifact, makeImage, makeIndex, type TestIndex } from '../helpers/image.ts';
import { makeManualClock } from '../helpers/manual-clock.ts';
import { pull } from '../helpers/pull.ts';
import { ociError, outcome, request } from '../helpers/request.ts';
import { type ProxyOptions, type RunningProxy, startProxy } from '../helpers/start-proxy.ts';

type Policy = NonNullable<ProxyOptions['policy']>;

const tagTtl = 300_000;

/** What `v1` names, and what `latest` does. */
const [good, bad] = [makeIndex({ seed: 'good' }), makeIndex({ seed: 'bad' })];

const onlyV1: Policy = {
  default: 'deny',
  rules: [{ images: ['ghcr.io/org/*'], tags: ['v1'], action: 'allow' }],
};
const notLatest: Policy = {
  rules: [{ images: ['**'], tags: ['latest'], action: 'deny', reason: 'Pin a version' }],
};

/** A server before an upstream with both indexes; `policy` may be replaced before a restart. */
async function scene(policy: Policy) {
  const upstream = await startFakeUpstream();
  upstream.add(repository, good, 'v1');
  upstream.add(repository, bad, 'latest');
  const clock = makeManualClock();
  const options = { registries: { 'ghcr.io': { upstreams: [upstream], tagTtl } }, policy, clock };
  return { upstream, options, clock, proxy: await startProxy(options) };
}

/** The paths of an index, one image of it, that image's config and a layer. */
function partsOf({ manifest, images }: TestIndex, name = repository): readonly string[] {
  const [image] = images;
  if (image === undefined) throw new Error('an index without images');
  return [
    manifestPath(manifest.digest, name),
    manifestPath(image.manifest.digest, name),
    blobPath(image.config.digest, name),
    blobPath(image.layers[0]?.digest ?? '', name),
  ];
}

async function outcomes(proxy: RunningProxy, paths: readonly string[]): Promise<readonly string[]> {
  return Promise.all(paths.map(async (path) => outcome(await request(proxy.url, path))));
}

const all = (what: string): readonly string[] => [what, what, what, what];

test.each([
  ['only v1 is allowed', onlyV1],
  ['latest is denied', notLatest],
])(
  'where %s, a digest is served once v1 led to it, with its parts, and never what latest leads to',
  async (_how, policy) => {
    const { proxy, upstream } = await scene(policy);
    expect(await outcomes(proxy, partsOf(good))).toEqual(all('403 DENIED'));
    expect(await outcomes(proxy, partsOf(bad))).toEqual(all('403 DENIED'));
    expect(upstream.journal.count()).toBe(0);
    await pull(proxy.url, { repository, reference: 'v1' });
    expect(await outcomes(proxy, [manifestPath('latest')])).toEqual(['403 DENIED']);
    expect(await outcomes(proxy, partsOf(good))).toEqual(all('200'));
    expect(await outcomes(proxy, partsOf(bad))).toEqual(all('403 DENIED'));
  },
);

test('a deployment that names the digest goes on working, after a restart and when upstream is gone', async () => {
  const { proxy, upstream } = await scene(onlyV1);
  const { digest } = good.manifest;
  await pull(proxy.url, { repository, reference: 'v1' });
  await proxy.restart();
  await upstream.refuse();
  const pulled = await pull(proxy.url, {
    repository,
    reference: digest,
    client: 'containerd',
    ns: 'ghcr.io',
  });
  expect(pulled.digest).toBe(digest);
});

test('the denial of a digest says what to do', async () => {
  const { proxy } = await scene(onlyV1);
  await mustGet(proxy.url, manifestPath('v1'));
  const { message } = ociError(await request(proxy.url, manifestPath(bad.manifest.digest)));
  expect(message).toContain(`ghcr.io/${repository}@${bad.manifest.digest}`);
  expect(message).toMatch(
    /No allowed tag is known to lead to this digest: pull an allowed tag.*entrepot lock/,
  );
  expect(message).toContain('for example: v1.');
});

test('what only tags that are denied now led to stops being served', async () => {
  const { proxy, options } = await scene({ rules: [] });
  await pull(proxy.url, { repository, reference: 'latest' });
  expect(await outcomes(proxy, partsOf(bad))).toEqual(all('200'));
  options.policy = notLatest;
  await proxy.restart();
  expect(await outcomes(proxy, partsOf(bad))).toEqual(all('403 DENIED'));
  const { message } = ociError(await request(proxy.url, partsOf(bad)[3] ?? ''));
  expect(message).toMatch(/known by its tag latest.*Pin a version/);
});

test('a layer that an allowed image shares with a denied one is served', async () => {
  const { proxy, upstream } = await scene(notLatest);
  const [shared] = good.images[0]?.layers ?? [];
  const sharing = makeImage({ seed: 'good' });
  expect(sharing.layers[0]?.digest).toBe(shared?.digest);
  upstream.add(repository, sharing, 'latest');
  const path = blobPath(shared?.digest ?? '');
  expect(await outcomes(proxy, [path])).toEqual(['403 DENIED']);
  await pull(proxy.url, { repository, reference: 'v1' });
  expect(await outcomes(proxy, [path])).toEqual(['200']);
});

test('what a tag led to in one repository is not served in another where it is denied', async () => {
  const { proxy, upstream } = await scene({
    default: 'deny',
    rules: [{ images: [`ghcr.io/${repository}`], tags: ['v1'], action: 'allow' }],
  });
  upstream.add('org/other', good, 'v1');
  await pull(proxy.url, { repository, reference: 'v1' });
  expect(await outcomes(proxy, partsOf(good, 'org/other'))).toEqual(all('403 DENIED'));
});

test('signatures, SBOMs and referrers are served with what they are about', async () => {
  const { proxy, upstream } = await scene(onlyV1);
  const about = (index: TestIndex, suffix: string) => `${index.manifest.digest.replace(':', '-')}${suffix}`;
  const made = [good, bad].map((index) => {
    const signature = makeArtifact(index.manifest, { seed: 'signature' });
    const sbom = makeArtifact(index.manifest, { seed: 'sbom' });
    upstream.add(repository, signature, about(index, '.sig'));
    upstream.add(repository, sbom);
    const manifests = [
      manifestPath(about(index, '.sig')),
      `/v2/${repository}/referrers/${index.manifest.digest}`,
      manifestPath(sbom.manifest.digest),
    ];
    return { manifests, layers: [signature, sbom].map(({ layers }) => blobPath(layers[0]?.digest ?? '')) };
  });
  const [ours, theirs] = made;
  if (ours === undefined || theirs === undefined) throw new Error('nothing was made');
  expect(await outcomes(proxy, ours.manifests)).toEqual(['403 DENIED', '403 DENIED', '403 DENIED']);
  await pull(proxy.url, { repository, reference: 'v1' });
  for (const path of ours.manifests) expect(await outcomes(proxy, [path]), path).toEqual(['200']);
  expect(await outcomes(proxy, ours.layers)).toEqual(['200', '200']);
  expect(await outcomes(proxy, theirs.manifests)).toEqual(['403 DENIED', '403 DENIED', '403 DENIED']);
});

test('with policy.digests "deny", a digest is served for as long as an allowed tag names it', async () => {
  const { proxy, upstream, clock } = await scene({ ...onlyV1, digests: 'deny' });
  await pull(proxy.url, { repository, reference: 'v1' });
  expect(await outcomes(proxy, partsOf(good))).toEqual(all('200'));
  upstream.content.setTag(repository, 'v1', bad.manifest.digest);
  clock.advance(tagTtl);
  await pull(proxy.url, { repository, reference: 'v1' });
  expect(await outcomes(proxy, partsOf(good))).toEqual(all('403 DENIED'));
  expect(await outcomes(proxy, partsOf(bad))).toEqual(all('200'));
});

test('with policy.digests "allow", any digest of a repository of which something is allowed is served', async () => {
  const { proxy, upstream } = await scene({ ...onlyV1, digests: 'allow' });
  upstream.add('secret/app', good, 'v1');
  expect(await outcomes(proxy, partsOf(bad))).toEqual(all('200'));
  expect(await outcomes(proxy, partsOf(good, 'secret/app'))).toEqual(all('403 DENIED'));
});

test('a rule with digests lets in what it names, with its parts, and keeps out what it names', async () => {
  const named = good.manifest.digest;
  const { proxy, options } = await scene({
    default: 'deny',
    rules: [{ images: ['**'], digests: [named], action: 'allow' }],
  });
  await pull(proxy.url, { repository, reference: named });
  await pull(proxy.url, { repository, reference: 'v1' });
  expect(outcome(await request(proxy.url, manifestPath('latest')))).toBe('403 DENIED');
  expect(await outcomes(proxy, partsOf(bad))).toEqual(all('403 DENIED'));
  options.policy = { rules: [{ images: ['**'], digests: [named], action: 'deny', reason: 'CVE-2026-1' }] };
  await proxy.restart();
  expect(await outcomes(proxy, partsOf(good))).toEqual(all('403 DENIED'));
  const answer = await request(proxy.url, manifestPath('v1'));
  expect(outcome(answer)).toBe('403 DENIED');
  expect(ociError(answer).message).toContain('CVE-2026-1');
  await pull(proxy.url, { repository, reference: 'latest' });
});
