import { expect, test } from 'vitest';
import { blobPath, manifestPath, mustGet, settled } from '../helpers/cold-layer.ts';
import { type FakeUpstream, startFakeUpstream } from '../helpers/fake-upstream.ts';
import { blobsOf, makeImage } from '../helpers/image.ts';
import { pull } from '../helpers/pull.ts';
import { ociError, outcome, request } from '../helpers/request.ts';
import { startProxy } from '../helpers/start-proxy.ts';

const repository = 'org/app';

async function twoRegistries() {
  const [docker, ghcr] = [await startFakeUpstream(), await startFakeUpstream()];
  const [dockerImage, ghcrImage] = [makeImage({ seed: 'docker' }), makeImage({ seed: 'ghcr' })];
  docker.add(repository, dockerImage, 'v1');
  ghcr.add(repository, ghcrImage, 'v1');
  const proxy = await startProxy({ registries: { 'docker.io': docker, 'ghcr.io': ghcr } });
  return { docker, ghcr, dockerImage, ghcrImage, proxy };
}

test('the same repository and tag on two registries stay two images, warm or cold', async () => {
  const { dockerImage, ghcrImage, proxy } = await twoRegistries();
  for (const _ of ['cold', 'warm']) {
    const fromDocker = await pull(proxy.url, { repository, reference: 'v1', ns: 'docker.io' });
    const fromGhcr = await pull(proxy.url, { repository, reference: 'v1', ns: 'ghcr.io' });
    expect([fromDocker.digest, fromGhcr.digest]).toEqual([
      dockerImage.manifest.digest,
      ghcrImage.manifest.digest,
    ]);
  }
});

test('a name is never tried on another registry than the one it means', async () => {
  const { docker, ghcr, ghcrImage, proxy } = await twoRegistries();
  ghcr.add('org/only-there', ghcrImage, 'v1');
  expect(outcome(await request(proxy.url, manifestPath('v1', 'org/only-there')))).toBe(
    '404 MANIFEST_UNKNOWN',
  );
  expect(ghcr.journal.count()).toBe(0);
  expect(docker.journal.count({ repository: 'org/only-there' })).toBeGreaterThan(0);
});

test('content cached from one registry is not readable through another', async () => {
  const { docker, ghcrImage, proxy } = await twoRegistries();
  await pull(proxy.url, { repository, reference: 'v1', ns: 'ghcr.io' });
  const layer = ghcrImage.layers[0]?.digest ?? '';
  expect(outcome(await request(proxy.url, `${blobPath(layer)}?ns=docker.io`))).toBe('404 BLOB_UNKNOWN');
  const manifest = manifestPath(ghcrImage.manifest.digest);
  expect(outcome(await request(proxy.url, `${manifest}?ns=docker.io`))).toBe('404 MANIFEST_UNKNOWN');
  expect(docker.journal.count()).toBeGreaterThan(0);
});

test('an unknown registry is 404 with a next step, in every form, and nobody is dialled', async () => {
  const { docker, ghcr, proxy } = await twoRegistries();
  for (const path of [
    '/v2/org/app/manifests/v1?ns=quay.io',
    '/v2/quay.io/org/app/manifests/v1',
    '/quay.io/v2/org/app/manifests/v1',
    '/v2/127.0.0.1:5000/org/app/manifests/v1',
    '/v2/localhost/app/manifests/v1',
    '/v2/quay.io/org/app/manifests/v1?ns=ghcr.io',
  ]) {
    const answer = await request(proxy.url, path);
    expect(answer.status, path).toBe(404);
    expect(ociError(answer).code, path).toBe('NAME_UNKNOWN');
    expect(ociError(answer).message, path).toMatch(/not configured.*registries/s);
  }
  expect([docker.journal.count(), ghcr.journal.count()]).toEqual([0, 0]);
});

type LinkScene = { upstream: FakeUpstream; url: string; layer: string; manifest: string };

async function linkScene(): Promise<LinkScene> {
  const upstream = await startFakeUpstream();
  const image = makeImage();
  upstream.add('org/public', image, 'v1');
  const proxy = await startProxy({ registries: { 'ghcr.io': upstream } });
  await pull(proxy.url, { repository: 'org/public', reference: 'v1' });
  for (const blob of blobsOf(image)) await settled(proxy, blobPath(blob.digest, 'org/public'));
  upstream.journal.clear();
  return { upstream, url: proxy.url, layer: image.layers[0]?.digest ?? '', manifest: image.manifest.digest };
}

test.each([
  [404, '404 BLOB_UNKNOWN'],
  [401, '403 DENIED'],
  [403, '403 DENIED'],
  [503, '503 UNAVAILABLE'],
])(
  'a blob cached through one repository is not readable through another that answers %i',
  async (status, told) => {
    const { upstream, url, layer } = await linkScene();
    upstream.script({ match: { repository: 'org/other' }, status });
    for (const method of ['GET', 'HEAD']) {
      const answer = await request(url, blobPath(layer, 'org/other'), { method });
      if (method === 'GET') expect(outcome(answer)).toBe(told);
      else expect(String(answer.status)).toBe(told.slice(0, 3));
      expect(answer.headers['x-cache']).not.toBe('hit');
    }
    const ranged = await request(url, blobPath(layer, 'org/other'), { headers: { range: 'bytes=0-0' } });
    expect(outcome(ranged)).toBe(told);
    expect((await mustGet(url, blobPath(layer, 'org/public'))).headers['x-cache']).toBe('hit');
  },
);

test('a manifest cached through one repository is not readable through another by its digest', async () => {
  const { url, manifest } = await linkScene();
  expect(outcome(await request(url, manifestPath(manifest, 'org/other')))).toBe('404 MANIFEST_UNKNOWN');
});

test('when upstream says that the other repository has the blob too, it is served without a second download', async () => {
  const { upstream, url, layer } = await linkScene();
  upstream.add('org/fork', makeImage(), 'v1');
  expect((await mustGet(url, blobPath(layer, 'org/fork'))).digest).toBe(layer);
  expect(upstream.journal.blobBytes(layer)).toBe(0);
  expect(upstream.journal.count({ repository: 'org/fork', method: 'HEAD' })).toBe(1);
  // From now on the link is known.
  upstream.journal.clear();
  await mustGet(url, blobPath(layer, 'org/fork'));
  expect(upstream.journal.count()).toBe(0);
});

test('who learns of a link through a manifest of its own repository needs no further word', async () => {
  const { upstream, url, layer } = await linkScene();
  upstream.add('org/fork', makeImage(), 'v1');
  await mustGet(url, manifestPath('v1', 'org/fork'));
  upstream.journal.clear();
  expect((await mustGet(url, blobPath(layer, 'org/fork'))).headers['x-cache']).toBe('hit');
  expect(upstream.journal.count()).toBe(0);
});

test('a blob under way for one repository is not joined by another without upstream’s word', async () => {
  const upstream = await startFakeUpstream();
  const image = makeImage({ layers: [6_000_000] });
  upstream.add('org/public', image, 'v1');
  const proxy = await startProxy({ registries: { 'ghcr.io': upstream } });
  await mustGet(proxy.url, manifestPath('v1', 'org/public'));
  const layer = image.layers[0]?.digest ?? '';
  const stall = upstream.script({ match: { kind: 'blob', repository: 'org/public' }, stallAt: 3_000_000 });
  const allowed = mustGet(proxy.url, blobPath(layer, 'org/public'));
  await stall.reached();
  expect(outcome(await request(proxy.url, blobPath(layer, 'org/other')))).toBe('404 BLOB_UNKNOWN');
  stall.release();
  expect((await allowed).digest).toBe(layer);
  await settled(proxy, blobPath(layer, 'org/public'));
});

test('a registry behind a registry is not reached, where an upstream would take its name for that', async () => {
  const { docker, ghcr, ghcrImage, proxy: central } = await twoRegistries();
  ghcr.add('org/secret', ghcrImage, 'v1');
  const office = await startProxy({
    registries: { 'docker.io': { upstreams: [{ url: central.url }] } },
    access: { anonymous: [{ images: ['docker.io/**'], actions: ['pull'] }] },
  });
  for (const path of ['/v2/docker.io/ghcr.io/org/secret', '/v2/docker.io/docker.io/org/app']) {
    for (const noun of ['manifests/v1', `blobs/${ghcrImage.config.digest}`, 'tags/list']) {
      expect(outcome(await request(office.url, `${path}/${noun}`))).toBe('404 NAME_UNKNOWN');
    }
  }
  expect(ghcr.journal.count() + docker.journal.count()).toBe(0);
});
