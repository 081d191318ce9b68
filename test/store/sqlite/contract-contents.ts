import { describe, expect, test } from 'vitest';
import type { ChildLink, ImportedManifest, Metadata } from '../../../src/store/metadata.ts';
import { makeBlob } from '../../helpers/image.ts';
import { manifest, mustKey, mustTag } from './contract-metadata.ts';

const app = mustKey('ghcr.io', 'org/app');
const other = mustKey('ghcr.io', 'org/other');
const v1 = mustTag('v1');
const v2 = mustTag('v2');
const [layer, spare] = [makeBlob('layer', 10), makeBlob('spare', 3)];
const child = (
  role: ChildLink['role'],
  { digest, bytes }: { digest: ChildLink['digest']; bytes: Buffer },
) => {
  return { digest, role, size: bytes.length, mediaType: 'application/x', platform: undefined };
};
const found = { tag: undefined, upstream: 'u', at: 5 };

/**
 * What every {@link Metadata} promises of what is looked through, carried in and set aside.
 * @param open opens an empty index that is gone when the test ends
 */
export function describeContents(name: string, open: () => Promise<Metadata>): void {
  describe(`${name} as the list of what is stored`, () => {
    test('an empty one lists nothing, and forgetting is harmless', async () => {
      const metadata = await open();
      expect(await metadata.children(layer.digest)).toEqual([]);
      expect(await metadata.referrersOf(app, layer.digest)).toEqual([]);
      expect(await metadata.repositories()).toEqual([]);
      expect(await metadata.storedAt([layer.digest])).toEqual(new Map());
      expect(await metadata.manifestsStored()).toEqual([]);
      expect(await metadata.manifestBytes(layer.digest)).toBeUndefined();
      expect(await metadata.blobsStored()).toEqual([]);
      expect(await metadata.importManifests([])).toEqual([]);
      await metadata.dropManifest(layer.digest);
      await metadata.dropBlob(layer.digest);
    });

    test('a manifest’s children come back as they were put, each role on its own', async () => {
      const metadata = await open();
      const stored = manifest('m');
      const children: ChildLink[] = [
        { ...child('manifest', layer), platform: 'linux/amd64' },
        child('subject', spare),
        child('layer', spare),
      ];
      await metadata.putManifest(app, stored, children, found);
      const order = (list: readonly ChildLink[]) => list.map((each) => JSON.stringify(each)).sort();
      expect(order(await metadata.children(stored.digest))).toEqual(order(children));
    });

    test('what refers to a digest is what names it as its subject and what an upstream lists, in that repository alone', async () => {
      const metadata = await open();
      const [sbom, stranger, listed] = [manifest('sbom'), manifest('stranger'), manifest('listed')];
      await metadata.putManifest(app, sbom, [child('subject', layer)], found);
      await metadata.putManifest(other, stranger, [child('subject', layer)], found);
      await metadata.putManifest(app, manifest('index'), [child('manifest', layer)], found);
      await metadata.putReferrers(app, layer.digest, [listed.digest, sbom.digest]);
      expect(await metadata.referrersOf(app, layer.digest)).toEqual([sbom.digest, listed.digest].sort());
      expect(await metadata.referrersOf(other, layer.digest)).toEqual([stranger.digest]);
    });

    test('repositories, manifests and blobs are listed, with the time of each', async () => {
      const metadata = await open();
      const stored = manifest('m');
      await metadata.putManifest(other, stored, [child('layer', layer)], found);
      await metadata.putLink(app, layer.digest, undefined);
      await metadata.putBlob(layer.digest, 10, 7);
      expect(await metadata.repositories()).toEqual([app, other]);
      expect(await metadata.manifestsStored()).toEqual([stored.digest]);
      expect((await metadata.manifestBytes(stored.digest))?.equals(stored.bytes)).toBe(true);
      expect(await metadata.blobsStored()).toEqual([{ digest: layer.digest, size: 10, storedAt: 7 }]);
      expect(await metadata.storedAt([layer.digest, stored.digest, spare.digest])).toEqual(
        new Map([
          [layer.digest, 7],
          [stored.digest, 5],
        ]),
      );
    });

    test('what is dropped is no longer stored, and can be put again', async () => {
      const metadata = await open();
      const stored = manifest('m');
      const put = () => metadata.putManifest(app, stored, [child('layer', layer)], { ...found, tag: v1 });
      await put();
      await metadata.putBlob(layer.digest, 10, 7);
      await metadata.dropManifest(stored.digest);
      await metadata.dropBlob(layer.digest);
      expect(await metadata.manifest(app, stored.digest)).toBeUndefined();
      expect(await metadata.children(stored.digest)).toEqual([]);
      expect(await metadata.blobsStored()).toEqual([]);
      // It is fetched again by whoever asks for the tag or the digest.
      expect(await metadata.tag(app, v1)).toMatchObject({ digest: stored.digest });
      expect(await metadata.link(app, layer.digest)).toBeDefined();
      await put();
      expect(await metadata.manifest(app, stored.digest)).toBeDefined();
    });
  });

  describe(`${name} on what was examined`, () => {
    test('when it was is remembered by repository, of those that are known', async () => {
      const metadata = await open();
      expect(await metadata.putExamined(app, layer.digest, 5)).toBe(false);
      expect(await metadata.repositories()).toEqual([]);
      for (const key of [app, other]) await metadata.putManifest(key, manifest('m'), [], found);
      expect(await metadata.putExamined(app, layer.digest, 5)).toBe(true);
      expect(await metadata.examinedAt(app, layer.digest)).toBe(5);
      expect(await metadata.examinedAt(other, layer.digest)).toBeUndefined();
      expect(await metadata.examinedAt(app, spare.digest)).toBeUndefined();
      expect(await metadata.putExamined(app, layer.digest, 7)).toBe(true);
      expect(await metadata.examinedAt(app, layer.digest)).toBe(7);
    });

    test('that is forgotten with any manifest, which may have been what was found', async () => {
      const metadata = await open();
      const stored = manifest('m');
      await metadata.putManifest(app, stored, [], found);
      await metadata.putExamined(app, layer.digest, 5);
      await metadata.dropManifest(stored.digest);
      expect(await metadata.examinedAt(app, layer.digest)).toBeUndefined();
    });
  });

  describe(`${name} as what manifests are carried into`, () => {
    const entry = (text: string, more: Partial<ImportedManifest> = {}): ImportedManifest => {
      return { key: app, manifest: manifest(text), children: [], tag: undefined, at: 9, ...more };
    };

    test('everything is there at once: manifests, links, tags', async () => {
      const metadata = await open();
      const index = entry('index', { children: [child('manifest', layer)], tag: v1 });
      const elsewhere = entry('elsewhere', { key: other });
      const moves = await metadata.importManifests([index, { ...index, tag: v2 }, elsewhere]);
      expect(await metadata.tags(app)).toEqual(['v1', 'v2']);
      expect(await metadata.tag(app, v2)).toMatchObject({ digest: index.manifest.digest, checkedAt: 9 });
      expect(await metadata.link(app, layer.digest)).toBeDefined();
      expect(await metadata.manifest(other, elsewhere.manifest.digest)).toBeDefined();
      expect(await metadata.manifest(app, elsewhere.manifest.digest)).toBeUndefined();
      expect(moves.map(({ tag, old }) => [tag, old])).toEqual([
        ['v1', undefined],
        ['v2', undefined],
      ]);
      expect(await metadata.importManifests([index])).toEqual([]);
    });

    test('one that cannot be recorded leaves everything as it was', async () => {
      const metadata = await open();
      const before = manifest('before');
      await metadata.putManifest(app, before, [], { ...found, tag: v1 });
      const broken = { ...child('layer', layer), mediaType: undefined } as unknown as ChildLink;
      const good = entry('good', { tag: v1 });
      const all = metadata.importManifests([good, entry('bad', { children: [broken] })]);
      await expect(all).rejects.toThrow();
      expect(await metadata.tag(app, v1)).toMatchObject({ digest: before.digest });
      expect(await metadata.manifest(app, good.manifest.digest)).toBeUndefined();
      expect(await metadata.tagHistory(app, v1)).toHaveLength(1);
    });

    test('a tag that was rolled back stays, and knows what was carried in', async () => {
      const metadata = await open();
      const [old, held] = [manifest('old'), manifest('held')];
      await metadata.putManifest(app, held, [], { ...found, tag: v1 });
      await metadata.putManifest(app, old, [], { ...found, tag: v1 });
      await metadata.setTag(app, v1, { digest: held.digest, action: 'rolled back', at: 6 });
      const fresh = entry('fresh', { tag: v1 });
      await metadata.importManifests([fresh]);
      expect(await metadata.tag(app, v1)).toMatchObject({
        digest: held.digest,
        pinned: true,
        candidate: { digest: fresh.manifest.digest },
      });
      expect(await metadata.manifest(app, fresh.manifest.digest)).toBeDefined();
    });
  });
}
