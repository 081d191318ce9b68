import { describe, expect, test } from 'vitest';
import { mediaTypes } from '../../../src/oci/media-types.ts';
import { parseRepositoryName, parseTag, type Tag } from '../../../src/oci/reference.ts';
import type { ChildLink, Metadata, RepositoryKey, StoredManifest } from '../../../src/store/metadata.ts';
import { digestOf, makeBlob } from '../../helpers/image.ts';

/** The key of a repository that the test knows to be well named. */
export function mustKey(registry: string, name: string): RepositoryKey {
  const repository = parseRepositoryName(name);
  if (repository === undefined) throw new Error(`not a name: ${name}`);
  return { registry, repository };
}

/** A tag that the test knows to be well formed. */
export function mustTag(text: string): Tag {
  const tag = parseTag(text);
  if (tag === undefined) throw new Error(`not a tag: ${text}`);
  return tag;
}

/** A manifest of some bytes, which no parser has to understand. */
export function manifest(text: string): StoredManifest {
  const bytes = Buffer.from(text);
  return { digest: digestOf(bytes), mediaType: mediaTypes.ociManifest, bytes };
}

const app = mustKey('ghcr.io', 'org/app');
const other = mustKey('ghcr.io', 'org/other');
const namesake = mustKey('docker.io', 'org/app');
const v1 = mustTag('v1');
const layer = makeBlob('layer', 10);
const child: ChildLink = {
  digest: layer.digest,
  role: 'layer',
  size: 10,
  mediaType: 'application/x',
  platform: undefined,
};

/**
 * What every {@link Metadata} promises.
 * @param open opens an empty index that is gone when the test ends
 */
export function describeMetadata(name: string, open: () => Promise<Metadata>): void {
  describe(`${name} as Metadata`, () => {
    test('an empty index knows nothing, and forgetting is harmless', async () => {
      const metadata = await open();
      const { digest } = manifest('x');
      expect(await metadata.tag(app, v1)).toBeUndefined();
      expect(await metadata.tags(app)).toEqual([]);
      expect(await metadata.manifest(app, digest)).toBeUndefined();
      expect(await metadata.link(app, digest)).toBeUndefined();
      expect(await metadata.listing(app, 'tags')).toBeUndefined();
      await metadata.dropTag(app, v1);
      await metadata.dropListing(app, 'tags');
      const seen = { digest, upstream: 'u', at: 1, confirms: true };
      expect(await metadata.observeTag(app, v1, seen)).toBeUndefined();
      expect(await metadata.tag(app, v1)).toBeUndefined();
    });

    test('a manifest comes back byte for byte, with its media type, and links itself and its children', async () => {
      const metadata = await open();
      const stored = manifest('{"é":"\\u0000"}');
      await metadata.putManifest(app, stored, [child], { tag: undefined, upstream: 'u', at: 5 });
      const found = await metadata.manifest(app, stored.digest);
      expect(found).toMatchObject({ digest: stored.digest, mediaType: stored.mediaType });
      expect(found?.bytes.equals(stored.bytes)).toBe(true);
      expect(await metadata.link(app, stored.digest)).toEqual({
        size: stored.bytes.length,
        mediaType: stored.mediaType,
      });
      expect(await metadata.link(app, layer.digest)).toEqual({ size: 10, mediaType: 'application/x' });
    });

    test('what one repository may read another may not, nor its namesake of another registry', async () => {
      const metadata = await open();
      const stored = manifest('private');
      await metadata.putManifest(app, stored, [child], { tag: v1, upstream: 'u', at: 5 });
      for (const stranger of [other, namesake]) {
        expect(await metadata.manifest(stranger, stored.digest)).toBeUndefined();
        expect(await metadata.link(stranger, stored.digest)).toBeUndefined();
        expect(await metadata.link(stranger, layer.digest)).toBeUndefined();
        expect(await metadata.tag(stranger, v1)).toBeUndefined();
      }
      await metadata.putManifest(other, stored, [], { tag: undefined, upstream: 'u', at: 6 });
      expect(await metadata.manifest(other, stored.digest)).toBeDefined();
      expect(await metadata.link(other, layer.digest)).toBeUndefined();
    });

    test('the subject of a manifest is no leave to read it', async () => {
      const metadata = await open();
      const subject: ChildLink = { ...child, role: 'subject' };
      await metadata.putManifest(app, manifest('sbom'), [subject], { tag: undefined, upstream: 'u', at: 5 });
      expect(await metadata.link(app, layer.digest)).toBeUndefined();
    });

    test('a tag says when it was confirmed, and when it came to name another digest', async () => {
      const metadata = await open();
      const [first, second] = [manifest('1'), manifest('2')];
      const put = (stored: StoredManifest, at: number) =>
        metadata.putManifest(app, stored, [], { tag: v1, upstream: 'u', at });
      const free = { pinned: false, candidate: undefined };
      await put(first, 100);
      expect(await metadata.tag(app, v1)).toEqual({
        ...free,
        digest: first.digest,
        checkedAt: 100,
        changedAt: 100,
      });
      const seen = { digest: first.digest, upstream: 'u', at: 200, confirms: true };
      await metadata.observeTag(app, v1, seen);
      expect(await metadata.tag(app, v1)).toEqual({
        ...free,
        digest: first.digest,
        checkedAt: 200,
        changedAt: 100,
      });
      await put(first, 300);
      expect(await metadata.tag(app, v1)).toMatchObject({ checkedAt: 300, changedAt: 100 });
      await put(second, 400);
      expect(await metadata.tag(app, v1)).toEqual({
        ...free,
        digest: second.digest,
        checkedAt: 400,
        changedAt: 400,
      });
    });

    test('a tag that is forgotten leaves its manifest readable by digest', async () => {
      const metadata = await open();
      const stored = manifest('kept');
      await metadata.putManifest(app, stored, [], { tag: v1, upstream: 'u', at: 1 });
      await metadata.dropTag(app, v1);
      expect(await metadata.tag(app, v1)).toBeUndefined();
      expect(await metadata.manifest(app, stored.digest)).toBeDefined();
    });

    test('tags come in lexical order, those of the repository alone', async () => {
      const metadata = await open();
      for (const name of ['v2', 'V1', 'latest', 'v10', '_x']) {
        await metadata.putManifest(app, manifest('t'), [], { tag: mustTag(name), upstream: 'u', at: 1 });
      }
      await metadata.putManifest(other, manifest('t'), [], {
        tag: mustTag('elsewhere'),
        upstream: 'u',
        at: 1,
      });
      expect(await metadata.tags(app)).toEqual(['V1', '_x', 'latest', 'v10', 'v2']);
    });

    test('a link without a size keeps the size that is known, and learns one', async () => {
      const metadata = await open();
      await metadata.putLink(app, layer.digest, undefined);
      expect(await metadata.link(app, layer.digest)).toEqual({ size: undefined, mediaType: undefined });
      await metadata.putLink(app, layer.digest, 10);
      expect(await metadata.link(app, layer.digest)).toMatchObject({ size: 10 });
      await metadata.putLink(app, layer.digest, undefined);
      expect(await metadata.link(app, layer.digest)).toMatchObject({ size: 10 });
      await metadata.putManifest(app, manifest('m'), [child], { tag: undefined, upstream: 'u', at: 1 });
      expect(await metadata.link(app, layer.digest)).toEqual({ size: 10, mediaType: 'application/x' });
    });

    test('a listing is replaced whole, and forgotten', async () => {
      const metadata = await open();
      const first = { body: Buffer.from('["a"]'), mediaType: 'application/json', checkedAt: 1 };
      const second = { body: Buffer.alloc(0), mediaType: 'text/x', checkedAt: 2 };
      await metadata.putListing(app, 'tags', first);
      expect(await metadata.listing(app, 'tags')).toEqual(first);
      await metadata.putListing(app, 'tags', second);
      expect(await metadata.listing(app, 'tags')).toEqual(second);
      expect(await metadata.listing(app, 'tags ')).toBeUndefined();
      expect(await metadata.listing(other, 'tags')).toBeUndefined();
      await metadata.dropListing(app, 'tags');
      expect(await metadata.listing(app, 'tags')).toBeUndefined();
    });

    test('a manifest that cannot be recorded whole is not recorded at all', async () => {
      const metadata = await open();
      const stored = manifest('half');
      const broken = { ...child, mediaType: undefined } as unknown as ChildLink;
      const put = metadata.putManifest(app, stored, [child, broken], { tag: v1, upstream: 'u', at: 1 });
      await expect(put).rejects.toThrow();
      expect(await metadata.manifest(app, stored.digest)).toBeUndefined();
      expect(await metadata.link(app, stored.digest)).toBeUndefined();
      expect(await metadata.link(app, layer.digest)).toBeUndefined();
      expect(await metadata.tag(app, v1)).toBeUndefined();
    });

    test('everything can be put twice', async () => {
      const metadata = await open();
      for (const at of [1, 2]) {
        await metadata.putManifest(app, manifest('m'), [child, child], { tag: v1, upstream: 'u', at });
        await metadata.putBlob(layer.digest, 10, at);
        await metadata.putLink(app, layer.digest, 10);
      }
      expect(await metadata.tags(app)).toEqual(['v1']);
    });

    test('pulls of what is not known are passed over', async () => {
      const metadata = await open();
      await metadata.recordPulls([{ ...app, digest: layer.digest, tag: v1, at: 1 }]);
      expect(await metadata.tag(app, v1)).toBeUndefined();
      expect(await metadata.link(app, layer.digest)).toBeUndefined();
    });

    test('the last runs of a sync entry are remembered, newest first, and no others', async () => {
      const metadata = await open();
      for (let at = 1; at <= 25; at += 1) {
        const report = { added: [`v${at}`] };
        await metadata.putSyncRun({ entry: 'app', startedAt: at, endedAt: at + 1, report });
        if (at === 1) await metadata.putSyncRun({ entry: 'other', startedAt: 0, endedAt: 0, report: null });
      }
      const runs = await metadata.syncRuns('app');
      expect(runs).toHaveLength(20);
      expect(runs[0]).toEqual({ entry: 'app', startedAt: 25, endedAt: 26, report: { added: ['v25'] } });
      expect(runs.at(-1)?.startedAt).toBe(6);
      expect(await metadata.syncRuns('other')).toHaveLength(1);
      expect(await metadata.syncRuns('none')).toEqual([]);
    });

    test('closing twice is closing', async () => {
      const metadata = await open();
      await metadata.close();
      await expect(metadata.close()).resolves.toBeUndefined();
    });
  });
}
