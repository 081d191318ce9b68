import path from 'node:path';
import { describe, expect, test } from 'vitest';
import { derivedTags } from '../../../src/oci/reference.ts';
import { makeArtifact, makeImage, makeIndex, manifestOf } from '../../helpers/image.ts';
import { openSite, temporaryFolder } from './bundle-scene.ts';

async function twoSites() {
  const folder = await temporaryFolder();
  return [await openSite(path.join(folder, 'a')), await openSite(path.join(folder, 'b'))] as const;
}

describe('a bundle', () => {
  test('brings an image, its tag and its blobs to another site', async () => {
    const [a, b] = await twoSites();
    const image = makeImage();
    await a.putImage('docker.io/library/app:1.0', image);
    const summary = await b.import(await a.export(['docker.io/library/app:1.0']));
    expect(summary.images).toEqual([
      {
        image: 'docker.io/library/app:1.0',
        digest: image.manifest.digest,
        before: undefined,
        held: false,
        made: false,
        referrer: false,
      },
    ]);
    expect(summary.stored).toBe(3);
    expect(await b.whole('docker.io/library/app:1.0')).toBe(true);
    expect(b.leftovers()).toEqual([]);
  });

  test('holds the same bytes whenever and in whatever order it is made', async () => {
    const [a, b] = await twoSites();
    const names = ['docker.io/library/one:1', 'ghcr.io/org/two:2', 'docker.io/library/three:3'];
    for (const [position, name] of names.entries())
      await a.putImage(name, makeImage({ seed: `${position}` }));
    const bundle = await a.export(names);
    expect((await a.export([...names].reverse())).equals(bundle)).toBe(true);
    await b.import(bundle);
    expect((await b.export('all')).equals(bundle)).toBe(true);
  });

  test('of several images shows all of them at once', async () => {
    const [a, b] = await twoSites();
    await a.putIndex('docker.io/library/one:1', makeIndex());
    await a.putImage('ghcr.io/org/two:2', makeImage({ seed: 'two' }));
    await b.import(await a.export('all'));
    expect(b.transactions()).toBe(1);
    expect(Object.keys(await b.visible())).toEqual(['docker.io/library/one:1', 'ghcr.io/org/two:2']);
  });

  test('leaves out a signature that is not stored whole', async () => {
    const [a, b] = await twoSites();
    const image = makeImage();
    const sbom = makeArtifact(image.manifest);
    await a.putImage('docker.io/library/app:1.0', image);
    await a.putImage(`docker.io/library/app@${sbom.manifest.digest}`, sbom);
    const [layer] = sbom.layers;
    if (layer === undefined) throw new Error('no layer');
    await a.blobs.remove(layer.digest);
    const { images } = await b.import(await a.export(['docker.io/library/app:1.0']));
    expect(images).toMatchObject([{ image: 'docker.io/library/app:1.0' }]);
  });

  test('is planned to the byte', async () => {
    const [a] = await twoSites();
    await a.putIndex('docker.io/library/app:1.0', makeIndex());
    const request = { images: 'all', platforms: [], since: undefined } as const;
    const plan = await a.exporter.plan(request, new AbortController().signal);
    expect(plan.size).toBe((await a.export('all')).length);
  });

  test('keeps an index as it is though it brings one platform of it', async () => {
    const [a, b] = await twoSites();
    const index = makeIndex();
    await a.putIndex('docker.io/library/app:1.0', index, ['linux/arm64']);
    await b.import(await a.export(['docker.io/library/app:1.0']));
    expect(await b.visible()).toEqual({ 'docker.io/library/app:1.0': index.manifest.digest });
    expect(await b.whole('docker.io/library/app:1.0', ['linux/arm64'])).toBe(true);
    expect(await b.whole('docker.io/library/app:1.0', ['linux/amd64'])).toBe(false);
  });

  test('brings signatures and attestations along, under the tags by which they are found', async () => {
    const [a, b] = await twoSites();
    const image = makeImage();
    const [, signatureTag] = derivedTags(image.manifest.digest);
    const sbom = makeArtifact(image.manifest);
    const signature = makeImage({ seed: 'signature' });
    await a.putImage('docker.io/library/app:1.0', image);
    await a.putImage(`docker.io/library/app@${sbom.manifest.digest}`, sbom);
    await a.putImage(`docker.io/library/app:${signatureTag}`, signature);
    const { images } = await b.import(await a.export(['docker.io/library/app:1.0']));
    expect(images.filter(({ referrer }) => referrer)).toHaveLength(2);
    const key = {
      registry: 'docker.io',
      repository: b.target('docker.io/library/app:1.0').target.repository,
    };
    expect(await b.metadata.links.referrersOf(key, image.manifest.digest)).toEqual([sbom.manifest.digest]);
    expect(await b.visible()).toHaveProperty(
      [`docker.io/library/app:${signatureTag}`],
      signature.manifest.digest,
    );
  });

  test('is not made of an image that is not stored whole, and says what to do', async () => {
    const [a] = await twoSites();
    const image = makeImage();
    await a.putImage('docker.io/library/app:1.0', image);
    await a.blobs.remove(image.config.digest);
    await expect(a.export(['docker.io/library/app:1.0'])).rejects.toMatchObject({
      code: 'NOT_STORED',
      message: expect.stringContaining('entrepot warm docker.io/library/app:1.0'),
    });
    await expect(a.export(['docker.io/library/other:1'])).rejects.toMatchObject({ code: 'NOT_STORED' });
  });

  test('of a damaged blob breaks off', async () => {
    const [a] = await twoSites();
    const image = makeImage();
    await a.putImage('docker.io/library/app:1.0', image);
    const [layer] = image.layers;
    if (layer === undefined) throw new Error('no layer');
    await a.putBlob({ ...layer, bytes: Buffer.alloc(layer.bytes.length) });
    await expect(a.export(['docker.io/library/app:1.0'])).rejects.toThrow(layer.digest);
  });

  test('imported twice changes nothing the second time and writes nothing', async () => {
    const [a, b] = await twoSites();
    await a.putIndex('docker.io/library/app:1.0', makeIndex());
    const bundle = await a.export('all');
    const first = await b.import(bundle);
    const second = await b.import(bundle);
    expect(second).toMatchObject({ stored: 0, bytes: 0, present: first.stored, receipt: first.receipt });
    expect(second.images).toEqual(first.images);
  });

  test('says what a tag was before, and leaves a tag that is held where it is', async () => {
    const [a, b] = await twoSites();
    const [old, next] = [makeImage({ seed: 'old' }), makeImage({ seed: 'new' })];
    await b.putImage('docker.io/library/app:1.0', old);
    await a.putImage('docker.io/library/app:1.0', next);
    const bundle = await a.export('all');
    const { repository } = b.target('docker.io/library/app:1.0').target;
    const key = { registry: 'docker.io', repository };
    const reference = b.target('docker.io/library/app:1.0').reference;
    if (reference.kind !== 'tag') throw new Error('no tag');
    await b.metadata.tags.set(key, reference.tag, {
      digest: old.manifest.digest,
      action: 'rolled back',
      at: 2,
    });
    const held = await b.import(bundle);
    expect(held.images).toMatchObject([{ before: old.manifest.digest, held: true }]);
    expect(await b.visible()).toEqual({ 'docker.io/library/app:1.0': old.manifest.digest });
    await b.metadata.tags.release(key, reference.tag, 3);
    const moved = await b.import(bundle);
    expect(moved.images).toMatchObject([{ before: old.manifest.digest, held: false }]);
    expect(await b.visible()).toEqual({ 'docker.io/library/app:1.0': next.manifest.digest });
  });

  test('says what a tag was when the import took its place, whatever it was before that', async () => {
    const [a, b] = await twoSites();
    const [old, next] = [makeImage({ seed: 'old' }), makeImage({ seed: 'new' })];
    const meanwhile = makeImage({ seed: 'meanwhile' });
    await b.putImage('docker.io/library/app:1.0', old);
    await a.putImage('docker.io/library/app:1.0', next);
    const written = b.hold('manifests.import', 'effect');
    const importing = b.import(await a.export('all'));
    await written.reached;
    await b.putImage('docker.io/library/app:1.0', meanwhile);
    written.release();
    expect((await importing).images).toMatchObject([{ before: meanwhile.manifest.digest, held: false }]);
  });

  test('of an image by digest alone can be pulled by that digest', async () => {
    const [a, b] = await twoSites();
    const image = makeImage();
    const name = `docker.io/library/app@${image.manifest.digest}`;
    await a.putImage(name, image);
    const { images } = await b.import(await a.export([name]));
    expect(images).toMatchObject([{ image: name }]);
    expect(await b.whole(name)).toBe(true);
  });

  test('of a registry that is not configured is refused with the lines to add, before anything is stored', async () => {
    const folder = await temporaryFolder();
    const a = await openSite(path.join(folder, 'a'));
    const b = await openSite(path.join(folder, 'b'), ['docker.io']);
    await a.putImage('ghcr.io/org/app:1.0', makeImage());
    const bundle = await a.export('all');
    await expect(b.import(bundle)).rejects.toMatchObject({
      code: 'BUNDLE_REGISTRY',
      message: expect.stringContaining('ghcr.io: {upstreams: [{url: "https://ghcr.io"}]}'),
    });
    expect(b.blobFiles()).toEqual([]);
  });
});

describe('a bundle since a receipt', () => {
  test('brings only what the other side lacks, and the image is whole there', async () => {
    const [a, b] = await twoSites();
    const [one, two] = [makeImage({ seed: 'one', layers: [200_000, 1_000] }), makeImage({ seed: 'two' })];
    await a.putImage('docker.io/library/app:1.0', one);
    const { receipt } = await b.import(await a.export('all'));
    const next = { ...two, layers: [...one.layers, ...two.layers] };
    const document = JSON.parse(two.manifest.bytes.toString());
    document.layers = next.layers.map(({ mediaType, digest, bytes }) => ({
      mediaType,
      digest,
      size: bytes.length,
    }));
    const image = { ...next, manifest: manifestOf(document, two.manifest.mediaType) };
    await a.putImage('docker.io/library/app:2.0', image);
    const delta = await a.export('all', { since: receipt });
    const changed = two.layers.reduce((sum, { bytes }) => sum + bytes.length, 0);
    expect(delta.length).toBeGreaterThan(changed);
    expect(delta.length).toBeLessThan(changed + 20_000);
    const summary = await b.import(delta);
    expect(summary.stored).toBe(3);
    expect(await b.whole('docker.io/library/app:2.0')).toBe(true);
    expect(await b.whole('docker.io/library/app:1.0')).toBe(true);
  });

  test('is refused where something is not there that the receipt says is', async () => {
    const [a, b] = await twoSites();
    const image = makeImage();
    await a.putImage('docker.io/library/app:1.0', image);
    const { receipt } = await b.import(await a.export('all'));
    const delta = await a.export('all', { since: receipt });
    await b.blobs.remove(image.config.digest);
    await expect(b.import(delta)).rejects.toMatchObject({
      code: 'BUNDLE_INCOMPLETE',
      message: expect.stringContaining(image.config.digest),
    });
  });

  test('gives what is left out to another repository of the site too', async () => {
    const [a, b] = await twoSites();
    const image = makeImage();
    await a.putImage('docker.io/library/app:1.0', image);
    const { receipt } = await b.import(await a.export('all'));
    await a.putImage('ghcr.io/org/copy:1.0', image);
    const { stored } = await b.import(await a.export(['ghcr.io/org/copy:1.0'], { since: receipt }));
    expect(stored).toBe(0);
    expect(await b.whole('ghcr.io/org/copy:1.0')).toBe(true);
  });
});
