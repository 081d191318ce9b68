import { describe, expect, test } from 'vitest';
import type { ChildLink, ImportedManifest, ManifestRecords } from '../../src/store/manifest-records.ts';
import type { Metadata } from '../../src/store/metadata.ts';
import { manifest } from '../helpers/stored.ts';
import { app, child, found, layer, other, spare, v1, v2 } from './contract-content.ts';

/**
 * What every {@link ManifestRecords} promises: manifests whole or not at all, and what they name.
 * @param open opens an empty index that is gone when the test ends
 */
export function describeManifests(name: string, open: () => Promise<Metadata>): void {
  describe(`${name} as ManifestRecords`, () => {
    test('an empty index knows none, and forgetting is harmless', async () => {
      const metadata = await open();
      expect(await metadata.manifests.get(app, layer)).toBeUndefined();
      expect(await metadata.manifests.bytes(layer)).toBeUndefined();
      expect(await metadata.manifests.children(layer)).toEqual([]);
      expect(await metadata.manifests.digests()).toEqual([]);
      expect(await metadata.manifests.storedAt([layer])).toEqual(new Map());
      expect(await metadata.manifests.import([])).toEqual([]);
      await metadata.manifests.drop(layer);
    });

    test('a manifest comes back byte for byte, with its media type, and links itself and its children', async () => {
      const metadata = await open();
      const stored = manifest('{"é":"\\u0000"}');
      await metadata.manifests.put(app, stored, [child(layer)], { tag: undefined, upstream: 'u', at: 5 });
      const found = await metadata.manifests.get(app, stored.digest);
      expect(found).toMatchObject({ digest: stored.digest, mediaType: stored.mediaType });
      expect(found?.bytes.equals(stored.bytes)).toBe(true);
      expect(await metadata.links.get(app, stored.digest)).toEqual({
        size: stored.bytes.length,
        mediaType: stored.mediaType,
      });
      expect(await metadata.links.get(app, layer)).toEqual({ size: 10, mediaType: 'application/x' });
    });

    test('a manifest that cannot be recorded whole is not recorded at all', async () => {
      const metadata = await open();
      const stored = manifest('half');
      const broken = { ...child, mediaType: undefined } as unknown as ChildLink;
      const put = metadata.manifests.put(app, stored, [child(layer), broken], {
        tag: v1,
        upstream: 'u',
        at: 1,
      });
      await expect(put).rejects.toThrow();
      expect(await metadata.manifests.get(app, stored.digest)).toBeUndefined();
      expect(await metadata.links.get(app, stored.digest)).toBeUndefined();
      expect(await metadata.links.get(app, layer)).toBeUndefined();
      expect(await metadata.tags.get(app, v1)).toBeUndefined();
    });

    test('a manifest’s children come back as they were put, each role on its own', async () => {
      const metadata = await open();
      const stored = manifest('m');
      const children: ChildLink[] = [
        { ...child(layer, 'manifest'), platform: 'linux/amd64' },
        child(spare, 'subject'),
        child(spare),
      ];
      await metadata.manifests.put(app, stored, children, found);
      const order = (list: readonly ChildLink[]) => list.map((each) => JSON.stringify(each)).sort();
      expect(order(await metadata.manifests.children(stored.digest))).toEqual(order(children));
    });

    test('those stored are listed, with the time of each', async () => {
      const metadata = await open();
      const stored = manifest('m');
      await metadata.manifests.put(other, stored, [child(layer)], found);
      expect(await metadata.manifests.digests()).toEqual([stored.digest]);
      expect((await metadata.manifests.bytes(stored.digest))?.equals(stored.bytes)).toBe(true);
      expect(await metadata.manifests.storedAt([layer, stored.digest])).toEqual(
        new Map([[stored.digest, 5]]),
      );
    });

    test('what is dropped is no longer stored, and can be put again', async () => {
      const metadata = await open();
      const stored = manifest('m');
      const put = () => metadata.manifests.put(app, stored, [child(layer)], { ...found, tag: v1 });
      await put();
      await metadata.manifests.drop(stored.digest);
      expect(await metadata.manifests.get(app, stored.digest)).toBeUndefined();
      expect(await metadata.manifests.children(stored.digest)).toEqual([]);
      // It is fetched again by whoever asks for the tag or the digest.
      expect(await metadata.tags.get(app, v1)).toMatchObject({ digest: stored.digest });
      expect(await metadata.links.get(app, layer)).toBeDefined();
      await put();
      expect(await metadata.manifests.get(app, stored.digest)).toBeDefined();
    });

    test('one can be put twice, as can its children', async () => {
      const metadata = await open();
      for (const at of [1, 2]) {
        const tagged = { tag: v1, upstream: 'u', at };
        await metadata.manifests.put(app, manifest('m'), [child(layer), child(layer)], tagged);
      }
      expect(await metadata.tags.names(app)).toEqual(['v1']);
    });
  });

  describe(`${name} as what manifests are carried into`, () => {
    const entry = (text: string, more: Partial<ImportedManifest> = {}): ImportedManifest => {
      return { key: app, manifest: manifest(text), children: [], tag: undefined, at: 9, ...more };
    };

    test('everything is there at once: manifests, links, tags', async () => {
      const metadata = await open();
      const index = entry('index', { children: [child(layer, 'manifest')], tag: v1 });
      const elsewhere = entry('elsewhere', { key: other });
      const moves = await metadata.manifests.import([index, { ...index, tag: v2 }, elsewhere]);
      expect(await metadata.tags.names(app)).toEqual(['v1', 'v2']);
      expect(await metadata.tags.get(app, v2)).toMatchObject({ digest: index.manifest.digest, checkedAt: 9 });
      expect(await metadata.links.get(app, layer)).toBeDefined();
      expect(await metadata.manifests.get(other, elsewhere.manifest.digest)).toBeDefined();
      expect(await metadata.manifests.get(app, elsewhere.manifest.digest)).toBeUndefined();
      expect(moves.map(({ tag, before, move }) => [tag, before, move?.old, move?.new])).toEqual([
        ['v1', undefined, undefined, index.manifest.digest],
        ['v2', undefined, undefined, index.manifest.digest],
      ]);
      const before = await metadata.tags.get(app, v1);
      const again = await metadata.manifests.import([index, elsewhere]);
      expect(again).toEqual([{ key: app, tag: v1, before, move: undefined }]);
    });

    test('one that cannot be recorded leaves everything as it was', async () => {
      const metadata = await open();
      const before = manifest('before');
      await metadata.manifests.put(app, before, [], { ...found, tag: v1 });
      const broken = { ...child(layer), mediaType: undefined } as unknown as ChildLink;
      const good = entry('good', { tag: v1 });
      const all = metadata.manifests.import([good, entry('bad', { children: [broken] })]);
      await expect(all).rejects.toThrow();
      expect(await metadata.tags.get(app, v1)).toMatchObject({ digest: before.digest });
      expect(await metadata.manifests.get(app, good.manifest.digest)).toBeUndefined();
      expect(await metadata.tags.history(app, v1)).toHaveLength(1);
    });

    test('a tag that was rolled back stays, and knows what was carried in', async () => {
      const metadata = await open();
      const [old, held] = [manifest('old'), manifest('held')];
      await metadata.manifests.put(app, held, [], { ...found, tag: v1 });
      await metadata.manifests.put(app, old, [], { ...found, tag: v1 });
      await metadata.tags.set(app, v1, { digest: held.digest, action: 'rolled back', at: 6 });
      const fresh = entry('fresh', { tag: v1 });
      await metadata.manifests.import([fresh]);
      expect(await metadata.tags.get(app, v1)).toMatchObject({
        digest: held.digest,
        pinned: true,
        candidate: { digest: fresh.manifest.digest },
      });
      expect(await metadata.manifests.get(app, fresh.manifest.digest)).toBeDefined();
    });
  });
}
