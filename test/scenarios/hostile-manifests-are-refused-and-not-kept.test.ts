import { expect, test } from 'vitest';
import { mediaTypes } from '../../src/oci/media-types.ts';
import { manifestPath, mustGet, repository } from '../helpers/cold-layer.ts';
import { startFakeUpstream } from '../helpers/fake-upstream.ts';
import { blobOf, digestOf, makeImage, makeIndex, manifestOf, type TestManifest } from '../helpers/image.ts';
import { filesContaining } from '../helpers/leaks.ts';
import { ociError, request } from '../helpers/request.ts';
import { startProxy } from '../helpers/start-proxy.ts';

const image = makeImage();
const index = makeIndex();
const imageDocument = JSON.parse(image.manifest.bytes.toString()) as Record<string, unknown>;
const indexDocument = JSON.parse(index.manifest.bytes.toString()) as Record<string, unknown>;
const { ociManifest, ociIndex, dockerManifest } = mediaTypes;
const schema1 = 'application/vnd.docker.distribution.manifest.v1+prettyjws';
const marker = 'hostile-marker';

const hostile: [string, TestManifest][] = [
  ['is not JSON', blobOf(Buffer.from(`${marker} {`), ociManifest)],
  [
    'is not UTF-8',
    blobOf(
      Buffer.concat([Buffer.from(`{"${marker}":"`), Buffer.from([0xff, 0xfe]), Buffer.from('"}')]),
      ociManifest,
    ),
  ],
  ['is JSON but no object', manifestOf([marker], ociManifest)],
  ['is a page of a captive portal', blobOf(Buffer.from(`<html>${marker}</html>`), 'text/html')],
  ['has no media type at all', manifestOf({ ...imageDocument, mediaType: undefined, marker }, '')],
  ['is Docker schema 1', manifestOf({ schemaVersion: 1, name: marker, fsLayers: [] }, schema1)],
  [
    'holds both manifests and layers',
    manifestOf({ ...imageDocument, ...indexDocument, mediaType: ociIndex, marker }, ociIndex),
  ],
  [
    'calls itself something else than its Content-Type',
    manifestOf({ ...imageDocument, mediaType: ociIndex, marker }, ociManifest),
  ],
  [
    'is an index served as a manifest',
    manifestOf({ ...indexDocument, mediaType: undefined, marker }, ociManifest),
  ],
  ['is an OCI manifest served as a Docker one', manifestOf({ ...imageDocument, marker }, dockerManifest)],
  [
    'names a layer by a digest that is none',
    manifestOf(
      { ...imageDocument, marker, layers: [{ mediaType: 'x', size: 1, digest: '../../etc/passwd' }] },
      ociManifest,
    ),
  ],
  [
    'names a layer of negative size',
    manifestOf(
      {
        ...imageDocument,
        marker,
        layers: [{ mediaType: 'x', size: -1, digest: digestOf(Buffer.from('x')) }],
      },
      ociManifest,
    ),
  ],
  [
    'lists more layers than any image has',
    manifestOf(
      { ...imageDocument, marker, layers: Array.from({ length: 5_000 }, () => imageDocument['config']) },
      ociManifest,
    ),
  ],
];

test.each(hostile)('a manifest that %s is refused with an OCI error and not kept', async (_, manifest) => {
  const upstream = await startFakeUpstream();
  upstream.content.addManifest(repository, manifest, 'bad');
  const proxy = await startProxy({ registries: { 'ghcr.io': upstream } });
  for (const reference of ['bad', manifest.digest]) {
    const answer = await request(proxy.url, manifestPath(reference));
    expect(answer.status).toBeGreaterThanOrEqual(400);
    expect(['MANIFEST_INVALID', 'UNSUPPORTED', 'UNAVAILABLE']).toContain(ociError(answer).code);
    // containerd falls back for this request only, dockerd for the whole pull: neither may be told 401.
    expect(answer.status).not.toBe(401);
    const head = await request(proxy.url, manifestPath(reference), { method: 'HEAD' });
    expect(head.status).toBe(answer.status);
  }
  await proxy.close();
  expect(filesContaining(proxy.storagePath, marker)).toEqual([]);
});

test('a manifest larger than the limit is refused without being read to its end', async () => {
  const upstream = await startFakeUpstream();
  const large = manifestOf({ ...imageDocument, annotations: { filling: 'x'.repeat(300_000) } }, ociManifest);
  upstream.content.addManifest(repository, large, 'large');
  const proxy = await startProxy({ registries: { 'ghcr.io': upstream }, limits: { manifestSize: 100_000 } });
  const declared = await request(proxy.url, manifestPath('large'));
  expect(declared.status).toBeGreaterThanOrEqual(400);
  expect(ociError(declared).message).toMatch(/large|bytes|limit/i);
  upstream.script({ chunked: true, bytesPerSecond: 1_000_000 });
  const undeclared = await request(proxy.url, manifestPath(large.digest));
  expect(undeclared.status).toBeGreaterThanOrEqual(400);
  ociError(undeclared);
  const chunkedGet = upstream.journal.filter({ method: 'GET', reference: large.digest }).at(-1);
  expect(chunkedGet?.bytes).toBeLessThan(300_000);
});

test('a manifest of just the limit is served', async () => {
  const upstream = await startFakeUpstream();
  const image = makeImage();
  upstream.add(repository, image, 'v1');
  const manifestSize = image.manifest.bytes.length;
  const proxy = await startProxy({ registries: { 'ghcr.io': upstream }, limits: { manifestSize } });
  await mustGet(proxy.url, manifestPath('v1'));
});

test('a manifest pulled by digest whose bytes have another digest is refused, whatever the header claims', async () => {
  const upstream = await startFakeUpstream();
  const forged = makeImage({ seed: 'forged' }).manifest.bytes;
  upstream.content.addManifest(repository, { ...image.manifest, bytes: forged });
  const proxy = await startProxy({ registries: { 'ghcr.io': upstream } });
  const path = manifestPath(image.manifest.digest);
  const answer = await request(proxy.url, path);
  expect(answer.status).toBeGreaterThanOrEqual(400);
  expect(ociError(answer).code).toBe('UNAVAILABLE');
  // Not even under its true digest: nobody asked for that.
  expect((await request(proxy.url, manifestPath(digestOf(forged)))).status).toBe(404);
});

test('a forged manifest of one upstream is replaced by the true one of the next', async () => {
  const liar = await startFakeUpstream();
  const honest = await startFakeUpstream();
  liar.content.addManifest(repository, {
    ...image.manifest,
    bytes: makeImage({ seed: 'forged' }).manifest.bytes,
  });
  honest.add(repository, image);
  const proxy = await startProxy({ registries: { 'ghcr.io': [{ url: liar.url, tags: false }, honest] } });
  expect((await mustGet(proxy.url, manifestPath(image.manifest.digest))).digest).toBe(image.manifest.digest);
});

test('a digest header that lies about a tag does not end up in the answer', async () => {
  const upstream = await startFakeUpstream();
  upstream.add(repository, image, 'v1');
  const lie = digestOf(Buffer.from('something else'));
  upstream.script({ match: { kind: 'manifest' }, headers: { 'docker-content-digest': lie } });
  const proxy = await startProxy({ registries: { 'ghcr.io': upstream } });
  const answer = await request(proxy.url, manifestPath('v1'));
  if (answer.status === 200) expect(answer.headers['docker-content-digest']).toBe(image.manifest.digest);
  expect(answer.text).not.toContain(lie);
});

test('a Content-Type with parameters or in other case is understood', async () => {
  const upstream = await startFakeUpstream();
  upstream.add(repository, image, 'v1');
  upstream.script({
    match: { kind: 'manifest' },
    headers: { 'content-type': `${ociManifest.toUpperCase()}; charset=utf-8` },
  });
  const proxy = await startProxy({ registries: { 'ghcr.io': upstream } });
  const answer = await mustGet(proxy.url, manifestPath('v1'));
  expect(answer.headers['content-type']).toBe(ociManifest);
});

test('layers with foreign urls are never fetched from there', async () => {
  const upstream = await startFakeUpstream();
  const elsewhere = await startFakeUpstream();
  const foreign = {
    mediaType: 'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip',
    size: 4,
    digest: digestOf(Buffer.from('evil')),
    urls: [`${elsewhere.url}/evil`],
  };
  const manifest = manifestOf({ ...imageDocument, layers: [foreign] }, ociManifest);
  upstream.content.addManifest(repository, manifest, 'v1');
  const proxy = await startProxy({ registries: { 'ghcr.io': upstream } });
  await mustGet(proxy.url, manifestPath('v1'));
  const answer = await request(proxy.url, `/v2/${repository}/blobs/${foreign.digest}`);
  expect(answer.status).toBe(404);
  expect(elsewhere.journal.count()).toBe(0);
});
