import { expect, test } from 'vitest';
import { manifestPath, mustGet, repository } from '../helpers/cold-layer.ts';
import { type FakeUpstreamOptions, startFakeUpstream } from '../helpers/fake-upstream.ts';
import { makeArtifact, makeImage } from '../helpers/image.ts';
import { ociError, outcome, request } from '../helpers/request.ts';
import { startProxy } from '../helpers/start-proxy.ts';

const image = makeImage();
const tags = ['a', 'b', 'c', 'd', 'e'];

async function scene(options: FakeUpstreamOptions = {}) {
  const upstream = await startFakeUpstream(options);
  upstream.add(repository, image, ...tags);
  const proxy = await startProxy({
    registries: { 'docker.io': await startFakeUpstream(), 'ghcr.io': upstream },
  });
  return { upstream, proxy };
}

const referrersPath = `/v2/ghcr.io/${repository}/referrers/${image.manifest.digest}`;

test('referrers pass through, filtered ones too', async () => {
  const { upstream, proxy } = await scene();
  const sbom = makeArtifact(image.manifest, { seed: 'sbom', type: 'application/vnd.example.sbom' });
  const signature = makeArtifact(image.manifest, { seed: 'sig', type: 'application/vnd.example.sig' });
  upstream.add(repository, sbom);
  upstream.add(repository, signature);
  const all = await mustGet(proxy.url, referrersPath);
  expect(all.headers['content-type']).toBe('application/vnd.oci.image.index.v1+json');
  const { manifests } = JSON.parse(all.text) as { manifests: { digest: string }[] };
  expect(manifests.map((entry) => entry.digest).sort()).toEqual(
    [sbom.manifest.digest, signature.manifest.digest].sort(),
  );
  const filtered = await mustGet(proxy.url, `${referrersPath}?artifactType=application/vnd.example.sig`);
  const listed = JSON.parse(filtered.text) as { manifests: { digest: string }[] };
  expect(listed.manifests.map((entry) => entry.digest)).toEqual([signature.manifest.digest]);
});

test('404 of an upstream without the referrers API stays 404, and the fallback tag works', async () => {
  const { upstream, proxy } = await scene({ referrers: false });
  const answer = await request(proxy.url, referrersPath);
  // NAME_UNKNOWN would tell oras that there is nothing further to ask.
  expect(outcome(answer)).toBe('404 MANIFEST_UNKNOWN');
  const fallback = image.manifest.digest.replace(':', '-');
  expect(ociError(answer).message).toContain(fallback);
  upstream.add(repository, makeArtifact(image.manifest), fallback);
  await mustGet(proxy.url, manifestPath(fallback, `ghcr.io/${repository}`));
});

test('no empty list is made up when the upstream is down', async () => {
  const { upstream, proxy } = await scene();
  await upstream.refuse();
  expect(outcome(await request(proxy.url, referrersPath))).toBe('503 UNAVAILABLE');
  expect(outcome(await request(proxy.url, `/v2/ghcr.io/${repository}/tags/list`))).toBe('503 UNAVAILABLE');
});

test.each([
  ['plain', `/v2/ghcr.io/${repository}/tags/list`],
  ['with ns', `/v2/${repository}/tags/list?ns=ghcr.io`],
])('tags are listed in pages whose links lead through the proxy (%s)', async (_, first) => {
  const { proxy } = await scene();
  const found: string[] = [];
  let next: string | undefined = `${first}${first.includes('?') ? '&' : '?'}n=2`;
  for (let page = 0; next !== undefined; page += 1) {
    expect(page).toBeLessThan(5);
    const answer = await mustGet(proxy.url, next);
    const listed = JSON.parse(answer.text) as { tags: string[] };
    expect(listed.tags.length).toBeLessThanOrEqual(2);
    found.push(...listed.tags);
    next = /^<([^>]+)>; *rel="next"$/.exec(String(answer.headers['link'] ?? ''))?.[1];
    if (next !== undefined) expect(next).toMatch(/^\/v2\//);
  }
  expect(found).toEqual(tags);
});

test('tags are in an order to which case does not matter, in pages too, and without upstreams', async () => {
  const { upstream, proxy } = await scene();
  upstream.add(repository, image, 'B', 'V2', '_x', 'v1', 'v10');
  const list = async (origin: string, query = '') => {
    const answer = await mustGet(origin, `/v2/ghcr.io/${repository}/tags/list${query}`);
    return (JSON.parse(answer.text) as { tags: string[] }).tags;
  };
  expect(await list(proxy.url)).toEqual(['_x', 'a', 'B', 'b', 'c', 'd', 'e', 'v1', 'v10', 'V2']);
  expect(await list(proxy.url, '?n=2&last=a')).toEqual(['B', 'b']);
  for (const tag of ['V2', 'a', 'B']) await mustGet(proxy.url, manifestPath(tag, `ghcr.io/${repository}`));
  await proxy.close();
  const { storagePath } = proxy;
  const offline = await startProxy({ registries: { 'ghcr.io': upstream }, offline: true, storagePath });
  expect(await list(offline.url)).toEqual(['a', 'B', 'V2']);
});

test('a page of no tags and a page after a tag are answered', async () => {
  const { proxy } = await scene();
  const list = async (query: string) => {
    const answer = await mustGet(proxy.url, `/v2/ghcr.io/${repository}/tags/list${query}`);
    return (JSON.parse(answer.text) as { tags: string[] }).tags;
  };
  expect(await list('')).toEqual(tags);
  expect(await list('?last=c')).toEqual(['d', 'e']);
  expect(await list('?n=0')).toEqual([]);
  expect(await list('?n=999999999')).toEqual(tags);
});

const writes = [
  ['POST', `/v2/${repository}/blobs/uploads/`],
  ['POST', `/v2/${repository}/blobs/uploads/?mount=sha256:${'a'.repeat(64)}&from=org/other`],
  ['PATCH', `/v2/${repository}/blobs/uploads/123e4567`],
  ['PUT', `/v2/${repository}/blobs/uploads/123e4567?digest=sha256:${'a'.repeat(64)}`],
  ['PUT', `/v2/${repository}/manifests/v1`],
  ['DELETE', `/v2/${repository}/manifests/v1`],
  ['DELETE', `/v2/${repository}/blobs/sha256:${'a'.repeat(64)}`],
  ['POST', '/v2/'],
] as const;

test.each(writes)('%s %s is 405 UNSUPPORTED and reaches no upstream', async (method, path) => {
  const { upstream, proxy } = await scene();
  const answer = await request(proxy.url, path, {
    method,
    body: method === 'DELETE' ? '' : 'x'.repeat(100_000),
  });
  expect(outcome(answer)).toBe('405 UNSUPPORTED');
  expect(answer.headers['allow']).toBe('GET, HEAD');
  expect(upstream.journal.count()).toBe(0);
  expect((await request(proxy.url, '/v2/')).status).toBe(200);
});
