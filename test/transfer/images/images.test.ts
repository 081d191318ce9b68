import { expect, onTestFinished, test } from 'vitest';
import { mediaTypes } from '../../../src/oci/media-types.ts';
import { ManifestStore } from '../../../src/pull/manifests/store.ts';
import { Namespaces } from '../../../src/pull/namespaces.ts';
import { keyOf } from '../../../src/pull/repository.ts';
import { DiskBlobStore } from '../../../src/store/disk/disk-blob-store.ts';
import { storageLayout } from '../../../src/store/disk/layout.ts';
import { SqliteMetadata } from '../../../src/store/sqlite/sqlite-metadata.ts';
import { StoredBlobs } from '../../../src/store/stored-blobs.ts';
import { Images, imageTitle } from '../../../src/transfer/images/images.ts';
import { metadataUnderTest } from '../../helpers/delayed-metadata.ts';
import { nobody } from '../../helpers/facts.ts';
import {
  blobsOf,
  descriptorOf,
  makeArtifact,
  makeImage,
  makeIndex,
  manifestOf,
  type TestBlob,
  type TestManifest,
} from '../../helpers/image.ts';
import { makeManualClock } from '../../helpers/manual-clock.ts';
import { temporaryDirectory } from '../../helpers/start-proxy.ts';
import { mustTag } from '../../helpers/stored.ts';
import { targetOf } from '../../pull/scripted-upstream.ts';
import { localFile } from '../../store/disk/contract-blob-store.ts';
import { named } from '../warm/warm-scene.ts';

async function scene() {
  const layout = storageLayout(await temporaryDirectory());
  const metadata = metadataUnderTest(SqliteMetadata.open(layout.index));
  onTestFinished(() => metadata.close());
  const clock = makeManualClock(0);
  const blobs = new StoredBlobs({
    records: metadata.blobs,
    bytes: new DiskBlobStore(layout),
    clock,
    facts: nobody,
  });
  const target = targetOf([]);
  const namespaces = new Namespaces([target.registry], { aliases: new Map(), defaultRegistry: 'ghcr.io' });
  const images = new Images({ metadata, blobs, namespaces });
  const store = new ManifestStore({ metadata, facts: nobody });
  return {
    images,
    metadata,
    async keepManifest(manifest: TestManifest, tag?: string, at = 1) {
      const asked = {
        digest: undefined,
        tag: tag === undefined ? undefined : mustTag(tag),
        upstream: 'u',
        at,
      };
      await store.admit(keyOf(target), { ...manifest, digestHint: undefined }, asked);
    },
    async keepBlobs(kept: readonly TestBlob[], at = 2) {
      for (const blob of kept) {
        clock.advance(at - clock.now());
        await blobs.adopt(blob.digest, await localFile(blob), blob.bytes.length);
      }
    },
    state: (name: string, platforms: readonly string[] = []) =>
      images.state(images.find(named(name)), platforms),
  };
}

const v1 = 'ghcr.io/org/app:v1';
const image = makeImage();

test('nothing is known of an image whose first manifest is not stored', async () => {
  const { state, keepManifest } = await scene();
  expect(await state(v1)).toBeUndefined();
  await keepManifest(image.manifest);
  expect(await state(v1)).toBeUndefined();
  expect(await state(`ghcr.io/org/app@${image.manifest.digest}`)).toMatchObject({
    tag: undefined,
    whole: false,
  });
  expect(await state(`ghcr.io/org/other@${image.manifest.digest}`)).toBeUndefined();
});

test('an image is whole once its last blob is, and says since when', async () => {
  const { state, keepManifest, keepBlobs } = await scene();
  await keepManifest(image.manifest, 'v1', 10);
  const [config, ...layers] = blobsOf(image);
  await keepBlobs(layers, 20);
  expect(await state(v1)).toMatchObject({ whole: false, platforms: [], lacking: [], storedAt: 20 });
  const missing = (await state(v1))?.parts.filter(({ stored }) => !stored);
  expect(missing).toEqual([
    {
      kind: 'blob',
      role: 'config',
      digest: image.config.digest,
      size: image.config.bytes.length,
      mediaType: image.config.mediaType,
      platform: undefined,
      stored: false,
    },
  ]);
  if (config) await keepBlobs([config], 30);
  expect(await state(v1)).toMatchObject({
    image: 'ghcr.io/org/app',
    tag: 'v1',
    digest: image.manifest.digest,
    whole: true,
    platforms: ['linux/amd64'],
    storedAt: 30,
  });
  expect((await state(v1))?.parts.map(({ role }) => role)).toEqual(['image', 'config', 'layer', 'layer']);
});

test('of an index only the platforms wanted count, a variant of them too', async () => {
  const { state, keepManifest, keepBlobs } = await scene();
  const [amd64, armV7, armV6] = ['linux/amd64', 'linux/arm', 'linux/arm64'].map((platform) =>
    makeImage({ platform }),
  );
  if (!amd64 || !armV7 || !armV6) throw new Error('three were made');
  const entry = ({ manifest }: typeof amd64, platform: object) => ({ ...descriptorOf(manifest), platform });
  const document = {
    schemaVersion: 2,
    mediaType: mediaTypes.ociIndex,
    manifests: [
      entry(amd64, { os: 'linux', architecture: 'amd64' }),
      entry(armV7, { os: 'linux', architecture: 'arm', variant: 'v7' }),
      entry(armV6, { os: 'linux', architecture: 'arm', variant: 'v6' }),
    ],
  };
  await keepManifest(manifestOf(document, mediaTypes.ociIndex), 'v1');
  await keepManifest(armV7.manifest);
  await keepBlobs(blobsOf(armV7));
  expect(await state(v1, ['linux/arm/v7'])).toMatchObject({ whole: true, lacking: [] });
  expect(await state(v1, ['linux/arm'])).toMatchObject({ whole: false, lacking: [] });
  expect(await state(v1, ['linux/amd64'])).toMatchObject({ whole: false });
  const s390x = await state(v1, ['linux/arm/v7', 'linux/s390x']);
  expect(s390x).toMatchObject({ whole: false, lacking: ['linux/s390x'] });
  expect(s390x?.platforms).toEqual(['linux/amd64', 'linux/arm/v7', 'linux/arm/v6']);
});

test('attestations in an index belong to the images that are wanted, and are none themselves', async () => {
  const { state, keepManifest, keepBlobs } = await scene();
  const index = makeIndex();
  const [amd64, arm64] = index.images;
  if (!amd64 || !arm64) throw new Error('two were made');
  const [first, second] = ['first', 'second'].map((seed) => makeImage({ seed }).manifest);
  if (!first || !second) throw new Error('two were made');
  const attests = (manifest: TestManifest, about: TestManifest) => ({
    ...descriptorOf(manifest),
    platform: { os: 'unknown', architecture: 'unknown' },
    annotations: { 'vnd.docker.reference.digest': about.digest },
  });
  const { manifests } = JSON.parse(index.manifest.bytes.toString()) as { manifests: object[] };
  const document = {
    schemaVersion: 2,
    mediaType: mediaTypes.ociIndex,
    manifests: [...manifests, attests(first, amd64.manifest), attests(second, arm64.manifest)],
  };
  await keepManifest(manifestOf(document, mediaTypes.ociIndex), 'v1');
  await keepManifest(amd64.manifest);
  await keepBlobs(blobsOf(amd64));
  const found = await state(v1, ['linux/amd64']);
  expect(found?.platforms).toEqual(['linux/amd64', 'linux/arm64']);
  expect(found?.parts.filter(({ role }) => role === 'referrer')).toMatchObject([
    { digest: first.digest, platform: 'linux/amd64', stored: false },
  ]);
  // Nobody needs it to run the image.
  expect(found?.whole).toBe(true);
});

test('what refers to an image is found by its subject, its listing and its derived tags, and ends where it refers back', async () => {
  const { state, keepManifest, keepBlobs, metadata } = await scene();
  await keepManifest(image.manifest, 'v1');
  await keepBlobs(blobsOf(image));
  const [bySubject, listed, signature] = ['a', 'b', 'c'].map((seed) =>
    makeArtifact(image.manifest, { seed }),
  );
  if (!bySubject || !listed || !signature) throw new Error('three were made');
  await keepManifest(bySubject.manifest);
  await metadata.links.putReferrers(keyOf(targetOf([])), image.manifest.digest, [listed.manifest.digest]);
  await keepManifest(
    makeImage({ seed: 'signature' }).manifest,
    `${image.manifest.digest.replace(':', '-')}.sig`,
  );
  const found = await state(v1);
  expect(found?.whole).toBe(true);
  const manifests = found?.parts.filter(({ role, kind }) => role === 'referrer' && kind === 'manifest');
  expect(manifests?.map(({ digest, stored }) => [digest, stored]).sort()).toEqual(
    [
      [bySubject.manifest.digest, true],
      [listed.manifest.digest, false],
      [makeImage({ seed: 'signature' }).manifest.digest, true],
    ].sort(),
  );
  expect(found?.parts.findIndex(({ role }) => role === 'referrer')).toBe(1 + blobsOf(image).length);
});

test('all names every tag that is an image, of registries that are configured', async () => {
  const { images, keepManifest, metadata } = await scene();
  await keepManifest(image.manifest, 'v2');
  await keepManifest(image.manifest, 'v1');
  await keepManifest(image.manifest, `${image.manifest.digest.replace(':', '-')}.sig`);
  const elsewhere = { registry: 'gone.example', repository: keyOf(targetOf([])).repository };
  await metadata.manifests.put(elsewhere, { ...image.manifest, mediaType: mediaTypes.ociManifest }, [], {
    tag: mustTag('v1'),
    upstream: 'u',
    at: 1,
  });
  const all: string[] = [];
  for await (const each of images.all()) all.push(imageTitle(each));
  expect(all).toEqual(['ghcr.io/org/app:v1', 'ghcr.io/org/app:v2']);
});
