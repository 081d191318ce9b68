import { createHash } from 'node:crypto';
import { expect, test } from 'vitest';
import type { Digest } from '../../src/oci/digest.ts';
import { mediaTypes } from '../../src/oci/media-types.ts';
import { blobPath, manifestPath, mustGet, repository, settled } from '../helpers/cold-layer.ts';
import { type FakeUpstream, startFakeUpstream } from '../helpers/fake-upstream.ts';
import {
  descriptorOf,
  makeBlob,
  manifestOf,
  mustDigest,
  type TestBlob,
  type TestImage,
} from '../helpers/image.ts';
import { patience } from '../helpers/patience.ts';
import { ociError, request } from '../helpers/request.ts';
import { startProxy } from '../helpers/start-proxy.ts';

const size = 6_000_000;

/** The same bytes, named by their sha512. */
function bySha512(blob: TestBlob): TestBlob {
  return { ...blob, digest: sha512Of(blob.bytes) };
}

function sha512Of(bytes: Buffer): Digest {
  return mustDigest(`sha512:${createHash('sha512').update(bytes).digest('hex')}`);
}

type Sha512Image = TestImage & { readonly layer: TestBlob };

/** An image whose every digest is a sha512, with one layer. */
function makeSha512Image(): Sha512Image {
  const config = bySha512(makeBlob('config', 300, 'application/vnd.oci.image.config.v1+json'));
  const layer = bySha512(makeBlob('layer', size, 'application/vnd.oci.image.layer.v1.tar'));
  const document = {
    schemaVersion: 2,
    mediaType: mediaTypes.ociManifest,
    config: descriptorOf(config),
    layers: [descriptorOf(layer)],
  };
  const manifest = bySha512(manifestOf(document, mediaTypes.ociManifest));
  return { manifest, config, layers: [layer], layer, platform: 'linux/amd64' };
}

async function openScene(prepare: (content: FakeUpstream['content'], image: Sha512Image) => void = () => {}) {
  const upstream = await startFakeUpstream();
  const image = makeSha512Image();
  upstream.add(repository, image, 'v1');
  prepare(upstream.content, image);
  const proxy = await startProxy({ registries: { 'ghcr.io': upstream } });
  return { upstream, image, proxy };
}

test('an image named by sha512 throughout is pulled, cached and served without its upstream', async () => {
  const { upstream, image, proxy } = await openScene();
  const { manifest, config, layer } = image;
  const pull = async () => {
    const byTag = await mustGet(proxy.url, manifestPath('v1'));
    expect(byTag.body.equals(manifest.bytes)).toBe(true);
    const byDigest = await mustGet(proxy.url, manifestPath(manifest.digest));
    expect(byDigest.body.equals(manifest.bytes)).toBe(true);
    expect(byDigest.headers['docker-content-digest']).toBe(manifest.digest);
    expect(byDigest.headers.etag).toBe(`"${manifest.digest}"`);
    const small = await mustGet(proxy.url, blobPath(config.digest));
    expect(small.body.equals(config.bytes)).toBe(true);
    const large = await mustGet(proxy.url, blobPath(layer.digest));
    expect(large.body.equals(layer.bytes)).toBe(true);
    expect(large.headers['docker-content-digest']).toBe(layer.digest);
    await settled(proxy, blobPath(layer.digest));
    return [byTag, byDigest, small, large].map(({ headers }) => headers['x-cache']);
  };
  const tail = async () => {
    const answer = await request(proxy.url, blobPath(layer.digest), { headers: { range: 'bytes=-1000' } });
    expect(answer).toMatchObject({ status: 206, length: 1000, complete: true });
    expect(answer.headers['content-range']).toBe(`bytes ${size - 1000}-${size - 1}/${size}`);
    expect(answer.body.equals(layer.bytes.subarray(-1000))).toBe(true);
  };

  expect((await pull())[0]).toBe('miss');
  await tail();
  expect(upstream.journal.blobBytes(layer.digest)).toBe(size);
  expect(proxy.files().blobs).toHaveLength(2);
  for (const file of proxy.files().blobs) expect(file).toMatch(/^sha512\/[0-9a-f]{2}\/[0-9a-f]{128}$/);

  await upstream.refuse();
  expect(await pull()).toEqual(['hit', 'hit', 'hit', 'hit']);
  await tail();
  await proxy.restart();
  expect(await pull()).toEqual(['hit', 'hit', 'hit', 'hit']);
});

test('bytes that are not those of a sha512 digest are neither served whole nor kept', async () => {
  const { image, proxy } = await openScene((content, { config, layer }) => {
    for (const blob of [config, layer]) {
      content.addBlob(repository, makeBlob('other', blob.bytes.length), blob.digest);
    }
  });
  await mustGet(proxy.url, manifestPath('v1'));
  for (const { digest } of [image.config, image.layer]) {
    const answer = await request(proxy.url, blobPath(digest));
    expect(answer.status === 200 && answer.complete).toBe(false);
  }
  await expect.poll(() => proxy.files(), { timeout: patience }).toEqual({ blobs: [], fills: [] });
});

test('a manifest that is not that of its sha512 digest is refused', async () => {
  const { image, proxy } = await openScene((content, { manifest }) => {
    const bytes = Buffer.from(manifest.bytes.toString().replace('.tar', '.zip'));
    content.addManifest(repository, { ...manifest, bytes });
  });
  const answer = await request(proxy.url, manifestPath(image.manifest.digest));
  expect(answer.status).toBe(503);
  expect(ociError(answer).code).toBe('UNAVAILABLE');
});
