import path from 'node:path';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { parseImageName } from '../../../src/oci/image-name.ts';
import { decompressed } from '../../../src/transfer/bundle/codec.ts';
import { descriptorOf, makeArtifact, makeImage, makeIndex, manifestOf } from '../../helpers/image.ts';
import { dockerSave, json, layoutOf, tarOf } from '../bundle/archives.ts';
import { openSite, piecesOf, temporaryFolder } from '../bundle/bundle-scene.ts';

const whole = 'org.opencontainers.image.ref.name';
const containerd = 'io.containerd.image.name';
const named = (text: string) => parseImageName(text, 'docker.io');

async function site() {
  return openSite(path.join(await temporaryFolder(), 'b'));
}

describe('an image layout made by others', () => {
  const image = makeImage();

  test.each([
    ['skopeo with a whole name', { [whole]: 'docker.io/library/app:1.0' }, undefined],
    ['a short name, as Docker reads it', { [whole]: 'app:1.0' }, undefined],
    [
      'docker save since version 25',
      { [containerd]: 'docker.io/library/app:1.0', [whole]: '1.0' },
      undefined,
    ],
    ['a tag, and the repository said by the user', { [whole]: '1.0' }, 'docker.io/library/app'],
    ['nothing, and all said by the user', undefined, 'app:1.0'],
    ['another name than the user says', { [whole]: 'ghcr.io/org/else:2' }, 'app:1.0'],
  ])('of %s is found under its name', async (_, annotations, name) => {
    const b = await site();
    const archive = tarOf(layoutOf([image], [annotations]));
    const { images } = await b.import(archive, { name: name === undefined ? undefined : named(name) });
    expect(images).toMatchObject([
      { image: 'docker.io/library/app:1.0', digest: image.manifest.digest, made: false },
    ]);
    expect(await b.whole('docker.io/library/app:1.0')).toBe(true);
    expect(b.leftovers()).toEqual([]);
  });

  test.each([
    ['no name at all', undefined],
    ['only a tag', { [whole]: 'latest' }],
  ])('of %s is refused, saying how to name it', async (_, annotations) => {
    const b = await site();
    await expect(b.import(tarOf(layoutOf([image], [annotations])))).rejects.toMatchObject({
      code: 'BUNDLE_UNNAMED',
      message: expect.stringContaining('--name'),
    });
    expect(await b.visible()).toEqual({});
  });

  test('that is compressed with gzip or zstd is imported as it is', async () => {
    for (const compress of [gzipSync, zstdCompressSync]) {
      const b = await site();
      const archive = compress(tarOf(layoutOf([image], [{ [whole]: 'app:1.0' }])));
      await b.import(decompressed(piecesOf(archive, 100)));
      expect(await b.whole('docker.io/library/app:1.0')).toBe(true);
    }
  });

  test('with an index of which some platforms are missing brings those that are there', async () => {
    const b = await site();
    const index = makeIndex();
    const [amd64] = index.images;
    if (amd64 === undefined) throw new Error('no image');
    const members = layoutOf([amd64], [undefined]).filter(([name]) => name !== 'index.json');
    members.push([`blobs/sha256/${index.manifest.digest.slice(7)}`, index.manifest.bytes]);
    const manifests = [{ ...descriptorOf(index.manifest), annotations: { [whole]: 'app:1.0' } }];
    members.push(['index.json', json({ schemaVersion: 2, manifests })]);
    await b.import(tarOf(members));
    expect(await b.whole('docker.io/library/app:1.0', ['linux/amd64'])).toBe(true);
    expect(await b.visible()).toEqual({ 'docker.io/library/app:1.0': index.manifest.digest });
  });

  test('with a signature that has no name of its own files it under what it signs', async () => {
    const b = await site();
    const sbom = makeArtifact(image.manifest);
    await b.import(tarOf(layoutOf([image, sbom], [{ [whole]: 'app:1.0' }, undefined])));
    const { repository } = b.target('docker.io/library/app:1.0').target;
    const referrers = await b.metadata.links.referrersOf(
      { registry: 'docker.io', repository },
      image.manifest.digest,
    );
    expect(referrers).toEqual([sbom.manifest.digest]);
  });

  test('of a registry that is not configured is refused', async () => {
    const b = await site();
    const archive = tarOf(layoutOf([image], [{ [whole]: 'quay.io/org/app:1' }]));
    await expect(b.import(archive)).rejects.toMatchObject({ code: 'BUNDLE_REGISTRY' });
  });

  test('that lacks a layer is refused; with the layer in the storage it is not', async () => {
    const b = await site();
    const [layer] = image.layers;
    if (layer === undefined) throw new Error('no layer');
    const members = layoutOf([image], [{ [whole]: 'app:1.0' }]);
    const lacking = tarOf(members.filter(([name]) => !name.endsWith(layer.digest.slice(7))));
    await expect(b.import(lacking)).rejects.toMatchObject({ code: 'BUNDLE_TRUNCATED' });
    expect(await b.visible()).toEqual({});
    await b.putBlob(layer);
    await b.import(lacking);
    expect(await b.whole('docker.io/library/app:1.0')).toBe(true);
  });

  test('whose bytes are not what their name says is refused, and what was there stays', async () => {
    const b = await site();
    await b.putImage('docker.io/library/app:1.0', makeImage({ seed: 'old' }));
    const before = await b.visible();
    const members = layoutOf([image], [{ [whole]: 'app:1.0' }]);
    const blobs = members.filter(([name]) => /^blobs\/sha256\/./.test(name));
    expect(blobs).toHaveLength(4);
    for (const [name, content] of blobs) {
      if (!Buffer.isBuffer(content)) continue;
      const changed = Buffer.from(content);
      changed[changed.length >> 1] = (changed[changed.length >> 1] ?? 0) ^ 1;
      const archive = tarOf(members.map((member) => (member[0] === name ? [name, changed] : member)));
      await expect(b.import(archive)).rejects.toMatchObject({ code: 'BUNDLE_CORRUPT' });
      expect(await b.visible()).toEqual(before);
    }
  });
});

describe('what docker save wrote', () => {
  test('becomes an image under each of its tags, with a manifest made here that is said to be', async () => {
    const b = await site();
    const { members, config, layers } = dockerSave({ tags: ['app:1.0', 'ghcr.io/org/app:latest'] });
    const { images } = await b.import(tarOf(members));
    expect(images).toMatchObject([
      { image: 'docker.io/library/app:1.0', made: true },
      { image: 'ghcr.io/org/app:latest', made: true },
    ]);
    for (const name of ['docker.io/library/app:1.0', 'ghcr.io/org/app:latest']) {
      const state = await b.images.state(b.target(name), []);
      expect(state?.whole).toBe(true);
      const parts = state?.parts.map(({ digest }) => digest);
      expect(parts).toEqual([images[0]?.digest, config.digest, ...layers.map(({ digest }) => digest)]);
    }
    expect(b.leftovers()).toEqual([]);
  });

  test('with compressed layers is checked against what its config says they unpack to', async () => {
    const b = await site();
    const { members } = dockerSave({ tags: ['app:1.0'], gzip: true });
    const archive = tarOf(members);
    const { images } = await b.import(archive);
    const manifest = await b.metadata.manifests.bytes(images[0]?.digest ?? ('' as never));
    expect(manifest?.toString()).toContain('layer.v1.tar+gzip');
    const other = dockerSave({ tags: ['app:1.0'], gzip: true, layers: [Buffer.from('x'), Buffer.from('y')] });
    const mixed = members.map(
      (member) => other.members.find(([name]) => name === 'layer1/layer.tar' && name === member[0]) ?? member,
    );
    await expect((await site()).import(tarOf(mixed))).rejects.toMatchObject({ code: 'BUNDLE_CORRUPT' });
  });

  test('imported again writes nothing', async () => {
    const b = await site();
    const archive = tarOf(dockerSave({ tags: ['app:1.0'] }).members);
    const first = await b.import(archive);
    expect(await b.import(archive)).toMatchObject({ stored: 0, present: first.stored, images: first.images });
  });

  test('without a tag needs a name', async () => {
    const b = await site();
    const archive = tarOf(dockerSave({ tags: null }).members);
    await expect(b.import(archive)).rejects.toMatchObject({ code: 'BUNDLE_UNNAMED' });
    const { images } = await b.import(archive, { name: named('ghcr.io/org/app:2') });
    expect(images).toMatchObject([{ image: 'ghcr.io/org/app:2' }]);
  });

  test('with one byte changed in a layer or a config is refused', async () => {
    const { members } = dockerSave({ tags: ['app:1.0'] });
    for (const [name, content] of members) {
      if (!/layer1\/layer\.tar|^[0-9a-f]{64}\.json$/.test(name) || !Buffer.isBuffer(content)) continue;
      const changed = Buffer.from(content);
      changed[changed.length - 30] = (changed[changed.length - 30] ?? 0) ^ 1;
      const archive = tarOf(members.map((member) => (member[0] === name ? [name, changed] : member)));
      const b = await site();
      await expect(b.import(archive)).rejects.toMatchObject({ name: 'BundleError' });
      expect(await b.visible()).toEqual({});
    }
  });
});

describe('a hostile archive', () => {
  test('cannot name a file outside: names are never paths', async () => {
    const b = await site();
    const image = makeImage();
    const members = layoutOf([image], [{ [whole]: 'app:1.0' }]);
    const archive = tarOf([
      ['../../escaped', Buffer.from('x')],
      ['/tmp/escaped-too', Buffer.from('x')],
      ['blobs/sha256/../../escaped', Buffer.from('x')],
      ['blobs/sha256', { link: '/etc' }],
      ...members,
    ]);
    await b.import(archive);
    expect(await b.whole('docker.io/library/app:1.0')).toBe(true);
    expect(b.leftovers()).toEqual([]);
    expect(b.blobFiles().sort()).toEqual(
      [image.config, ...image.layers].map(({ digest }) => digest.slice(7)).sort(),
    );
  });

  test('with links that go round is refused', async () => {
    const b = await site();
    const { members } = dockerSave({ tags: ['app:1.0'] });
    const round = members.map(([name, content]) => {
      return name === 'twice/layer.tar'
        ? ([name, { link: 'layer.tar' }] as const)
        : ([name, content] as const);
    });
    await expect(b.import(tarOf(round))).rejects.toMatchObject({ code: 'BUNDLE_TRUNCATED' });
  });

  test('with an index in an index without end, or a document that is both kinds, is refused', async () => {
    const b = await site();
    const type = 'application/vnd.oci.image.index.v1+json';
    let inner: { digest: string; bytes: Buffer; mediaType: string } = makeImage().manifest;
    const members = layoutOf([makeImage()], [undefined]).filter(([name]) => name !== 'index.json');
    for (let depth = 0; depth < 8; depth += 1) {
      const manifests = [{ mediaType: inner.mediaType, digest: inner.digest, size: inner.bytes.length }];
      inner = manifestOf({ schemaVersion: 2, mediaType: type, manifests }, type);
      members.push([`blobs/sha256/${inner.digest.slice(7)}`, inner.bytes]);
    }
    const top = {
      mediaType: type,
      digest: inner.digest,
      size: inner.bytes.length,
      annotations: { [whole]: 'app:1' },
    };
    const archive = tarOf([...members, ['index.json', json({ manifests: [top] })]]);
    await expect(b.import(archive)).rejects.toMatchObject({ code: 'BUNDLE_UNSUPPORTED' });
    const image = makeImage();
    const both = manifestOf(
      { ...JSON.parse(image.manifest.bytes.toString()), manifests: [] },
      image.manifest.mediaType,
    );
    const ambiguous = tarOf(layoutOf([{ ...image, manifest: both }], [{ [whole]: 'app:1' }]));
    await expect(b.import(ambiguous)).rejects.toMatchObject({ code: 'BUNDLE_UNSUPPORTED' });
    expect(await b.visible()).toEqual({});
  });

  test('whose index gives a wrong size for an image is refused', async () => {
    const b = await site();
    const type = 'application/vnd.oci.image.index.v1+json';
    const image = makeImage();
    const wrong = [{ ...descriptorOf(image.manifest), size: image.manifest.bytes.length + 1 }];
    const index = manifestOf({ schemaVersion: 2, mediaType: type, manifests: wrong }, type);
    const members = layoutOf([image], [undefined]).filter(([name]) => name !== 'index.json');
    members.push([`blobs/sha256/${index.digest.slice(7)}`, index.bytes]);
    const top = { ...descriptorOf(index), annotations: { [whole]: 'app:1' } };
    members.push(['index.json', json({ manifests: [top] })]);
    await expect(b.import(tarOf(members))).rejects.toMatchObject({ code: 'BUNDLE_CORRUPT' });
  });

  test('that is no archive at all is refused as such', async () => {
    const b = await site();
    for (const bytes of [
      Buffer.from('hello world'.repeat(200)),
      json({ a: 1 }),
      Buffer.alloc(0),
      Buffer.alloc(5000),
    ]) {
      await expect(b.import(bytes)).rejects.toMatchObject({ name: 'BundleError' });
    }
  });
});
