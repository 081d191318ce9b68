import { describe, expect, test } from 'vitest';
import type { Digest } from '../../../src/oci/digest.ts';
import type { Tag } from '../../../src/oci/reference.ts';
import type {
  ChildLink,
  Lead,
  LinkRole,
  Metadata,
  RepositoryKey,
  StoredManifest,
} from '../../../src/store/metadata.ts';
import { makeBlob } from '../../helpers/image.ts';
import { manifest, mustKey, mustTag } from './contract-metadata.ts';

const app = mustKey('ghcr.io', 'org/app');
const other = mustKey('ghcr.io', 'org/other');
const namesake = mustKey('docker.io', 'org/app');
const [v1, v2] = [mustTag('v1'), mustTag('v2')];
const [first, second, third] = [manifest('1'), manifest('2'), manifest('3')];
const layer = makeBlob('layer', 10).digest;

function child(digest: Digest, role: LinkRole = 'layer'): ChildLink {
  return { digest, role, size: 10, mediaType: 'application/x', platform: undefined };
}

function put(
  metadata: Metadata,
  stored: StoredManifest,
  { tag, at = 1, children = [], key = app }: PutOptions = {},
): ReturnType<Metadata['putManifest']> {
  return metadata.putManifest(key, stored, children, { tag, upstream: 'up', at });
}

type PutOptions = { tag?: Tag; at?: number; children?: readonly ChildLink[]; key?: RepositoryKey };

/** The ways to a digest as `tag from digest`, noted digests behind. */
async function ways(
  metadata: Metadata,
  digest: Digest,
  options: { current?: boolean; noted?: readonly Digest[]; key?: RepositoryKey } = {},
): Promise<readonly string[]> {
  const { current = false, noted = [], key = app } = options;
  const leads = await metadata.leadsTo(key, digest, { current, noted });
  return leads.map(written);
}

function written({ tag, from, noted }: Lead): string {
  return [tag ?? 'nothing', from, ...noted].join(' ');
}

/**
 * What every {@link Metadata} promises about tags: what they were, what becomes of them, and what they lead to.
 * @param open opens an empty index that is gone when the test ends
 */
export function describeTags(name: string, open: () => Promise<Metadata>): void {
  describe(`${name} on what becomes of a tag`, () => {
    test('the first digest of a tag is a move from nothing, the same one again is none, another is one', async () => {
      const metadata = await open();
      const move = { tag: v1, action: 'moved', upstream: 'up' };
      expect(await put(metadata, first, { tag: v1, at: 1 })).toEqual({
        ...move,
        old: undefined,
        new: first.digest,
        at: 1,
      });
      expect(await put(metadata, first, { tag: v1, at: 2 })).toBeUndefined();
      const moved = { ...move, old: first.digest, new: second.digest, at: 3 };
      expect(await put(metadata, second, { tag: v1, at: 3 })).toEqual(moved);
      expect(await put(metadata, third, { at: 4 })).toBeUndefined();
      const history = await metadata.tagHistory(app, v1);
      expect(history.map((event) => [event.old, event.new, event.at])).toEqual([
        [first.digest, second.digest, 3],
        [undefined, first.digest, 1],
      ]);
    });

    test('what upstream says is noted beside what is served, with when it was first said, and is one move', async () => {
      const metadata = await open();
      await put(metadata, first, { tag: v1, at: 1 });
      const see = (digest: Digest, at: number, confirms = true) =>
        metadata.observeTag(app, v1, { digest, upstream: 'up', at, confirms });
      expect(await see(second.digest, 10)).toEqual({
        tag: v1,
        action: 'moved',
        old: first.digest,
        new: second.digest,
        upstream: 'up',
        at: 10,
      });
      expect(await see(second.digest, 20)).toBeUndefined();
      expect(await metadata.tag(app, v1)).toEqual({
        digest: first.digest,
        checkedAt: 20,
        changedAt: 1,
        pinned: false,
        candidate: { digest: second.digest, since: 10 },
      });
      expect(await see(third.digest, 30)).toMatchObject({ old: second.digest, new: third.digest });
      expect((await metadata.tag(app, v1))?.candidate).toEqual({ digest: third.digest, since: 30 });
      expect(await see(first.digest, 40)).toMatchObject({ old: third.digest, new: first.digest });
      expect((await metadata.tag(app, v1))?.candidate).toBeUndefined();
      expect(await metadata.tagHistory(app, v1)).toHaveLength(4);
    });

    test('a sighting that confirms nothing leaves the tag to be asked for again', async () => {
      const metadata = await open();
      await put(metadata, first, { tag: v1, at: 1 });
      const seen = { digest: second.digest, upstream: 'up', at: 10, confirms: false };
      await metadata.observeTag(app, v1, seen);
      expect(await metadata.tag(app, v1)).toMatchObject({ checkedAt: 1, candidate: { since: 10 } });
    });

    test('a move that was noted is not told again when it is followed', async () => {
      const metadata = await open();
      await put(metadata, first, { tag: v1, at: 1 });
      const seen = { digest: second.digest, upstream: 'up', at: 10, confirms: true };
      await metadata.observeTag(app, v1, seen);
      expect(await put(metadata, second, { tag: v1, at: 20 })).toBeUndefined();
      expect(await metadata.tag(app, v1)).toEqual({
        digest: second.digest,
        checkedAt: 20,
        changedAt: 20,
        pinned: false,
        candidate: undefined,
      });
      expect(await metadata.tagHistory(app, v1)).toHaveLength(2);
    });

    test('a tag is set to what is stored, and to nothing else', async () => {
      const metadata = await open();
      await put(metadata, first, { tag: v1, at: 1 });
      await put(metadata, third, { key: other });
      for (const digest of [second.digest, third.digest]) {
        expect(await metadata.setTag(app, v1, { digest, action: 'rolled back', at: 5 })).toBe(false);
      }
      expect(await metadata.tag(app, v1)).toMatchObject({ digest: first.digest, pinned: false });
      expect(await metadata.tagHistory(app, v1)).toHaveLength(1);
    });

    test('a tag that is rolled back is pinned, knows what upstream says, and is told of once', async () => {
      const metadata = await open();
      await put(metadata, first, { tag: v1, at: 1 });
      await put(metadata, second, { tag: v1, at: 2 });
      const back = { digest: first.digest, action: 'rolled back', at: 3 } as const;
      expect(await metadata.setTag(app, v1, back)).toBe(true);
      expect(await metadata.tag(app, v1)).toEqual({
        digest: first.digest,
        checkedAt: 2,
        changedAt: 3,
        pinned: true,
        candidate: { digest: second.digest, since: 2 },
      });
      expect(await metadata.setTag(app, v1, { ...back, at: 4 })).toBe(true);
      const history = await metadata.tagHistory(app, v1);
      expect(history).toHaveLength(3);
      expect(history[0]).toEqual({
        tag: v1,
        action: 'rolled back',
        old: second.digest,
        new: first.digest,
        upstream: '',
        at: 3,
      });
    });

    test('a tag that was never pulled can be locked, and is not pinned by it', async () => {
      const metadata = await open();
      await put(metadata, first);
      expect(await metadata.setTag(app, v1, { digest: first.digest, action: 'locked', at: 5 })).toBe(true);
      expect(await metadata.tag(app, v1)).toEqual({
        digest: first.digest,
        checkedAt: 5,
        changedAt: 5,
        pinned: false,
        candidate: undefined,
      });
      expect(await metadata.tagHistory(app, v1)).toMatchObject([{ action: 'locked', old: undefined }]);
    });

    test('a tag set to what upstream already says has nothing left that differs', async () => {
      const metadata = await open();
      await put(metadata, first, { tag: v1, at: 1 });
      await put(metadata, second);
      const seen = { digest: second.digest, upstream: 'up', at: 10, confirms: true };
      await metadata.observeTag(app, v1, seen);
      await metadata.setTag(app, v1, { digest: second.digest, action: 'rolled back', at: 20 });
      expect(await metadata.tag(app, v1)).toMatchObject({ digest: second.digest, candidate: undefined });
    });

    test('a tag that is released is asked for at the next pull; one that is not pinned cannot be', async () => {
      const metadata = await open();
      await put(metadata, first, { tag: v1, at: 10 });
      expect(await metadata.releaseTag(app, v1, 11)).toBe(false);
      expect(await metadata.releaseTag(app, v2, 11)).toBe(false);
      await metadata.setTag(app, v1, { digest: first.digest, action: 'rolled back', at: 12 });
      expect(await metadata.releaseTag(other, v1, 13)).toBe(false);
      expect(await metadata.releaseTag(app, v1, 14)).toBe(true);
      expect(await metadata.tag(app, v1)).toMatchObject({
        pinned: false,
        checkedAt: 0,
        digest: first.digest,
      });
      expect((await metadata.tagHistory(app, v1)).map(({ action }) => action)).toEqual([
        'released',
        'rolled back',
        'moved',
      ]);
    });

    test('the history of a repository is that of its tags, newest first, and of no other repository', async () => {
      const metadata = await open();
      await put(metadata, first, { tag: v1, at: 1 });
      await put(metadata, second, { tag: v2, at: 2 });
      await put(metadata, third, { tag: v1, at: 3 });
      for (const key of [other, namesake]) await put(metadata, first, { tag: v1, key });
      const told = (await metadata.tagHistory(app, undefined)).map(({ tag, at }) => `${tag} ${at}`);
      expect(told).toEqual(['v1 3', 'v2 2', 'v1 1']);
      expect(await metadata.tagHistory(app, v2)).toHaveLength(1);
      expect(await metadata.tagHistory(mustKey('ghcr.io', 'org/none'), undefined)).toEqual([]);
    });
  });

  describe(`${name} on what leads to a digest`, () => {
    const image = manifest('image');
    const index = manifest('index');

    /** An index, its image, and the image's layer. */
    async function putIndex(metadata: Metadata, key: RepositoryKey = app, ...tags: Tag[]) {
      const [tag] = tags;
      await put(metadata, index, { key, ...(tag && { tag }), children: [child(image.digest, 'manifest')] });
      await put(metadata, image, { key, children: [child(layer)] });
    }

    test('a digest of which nothing is known is where its way begins', async () => {
      const metadata = await open();
      expect(await ways(metadata, layer)).toEqual([`nothing ${layer}`]);
      await put(metadata, first, { tag: v1 });
      expect(await ways(metadata, layer)).toEqual([`nothing ${layer}`]);
    });

    test('a tag leads to its index, to the images in it, and to their blobs', async () => {
      const metadata = await open();
      await putIndex(metadata, app, v1);
      for (const digest of [index.digest, image.digest, layer]) {
        expect(await ways(metadata, digest)).toEqual([`v1 ${index.digest}`]);
      }
    });

    test('without a tag the way begins at the index', async () => {
      const metadata = await open();
      await putIndex(metadata);
      expect(await ways(metadata, layer)).toEqual([`nothing ${index.digest}`]);
    });

    test('a blob that several images share has a way from each', async () => {
      const metadata = await open();
      await put(metadata, first, { tag: v1, children: [child(layer)] });
      await put(metadata, second, { tag: v2, children: [child(layer, 'config')] });
      await put(metadata, third, { children: [child(layer)] });
      expect(await ways(metadata, layer)).toEqual([
        `v1 ${first.digest}`,
        `v2 ${second.digest}`,
        `nothing ${third.digest}`,
      ]);
    });

    test('past digests of a tag count, unless only current ones are asked for', async () => {
      const metadata = await open();
      await put(metadata, first, { tag: v1, at: 1, children: [child(layer)] });
      await put(metadata, second, { tag: v1, at: 2 });
      expect(await ways(metadata, layer)).toEqual([`v1 ${first.digest}`]);
      expect(await ways(metadata, layer, { current: true })).toEqual([`nothing ${first.digest}`]);
      expect(await ways(metadata, second.digest, { current: true })).toEqual([`v1 ${second.digest}`]);
      await metadata.dropTag(app, v1);
      expect(await ways(metadata, second.digest, { current: true })).toEqual([`nothing ${second.digest}`]);
      expect(await ways(metadata, second.digest)).toEqual([`v1 ${second.digest}`]);
    });

    test('a tag leads to what it is set to, and not to what upstream says that it is', async () => {
      const metadata = await open();
      await put(metadata, first, { tag: v1, at: 1 });
      await put(metadata, second);
      const seen = { digest: second.digest, upstream: 'up', at: 2, confirms: true };
      await metadata.observeTag(app, v1, seen);
      expect(await ways(metadata, second.digest)).toEqual([`nothing ${second.digest}`]);
      await metadata.setTag(app, v1, { digest: second.digest, action: 'locked', at: 3 });
      expect(await ways(metadata, second.digest)).toEqual([`v1 ${second.digest}`]);
      expect(await ways(metadata, second.digest, { current: true })).toEqual([`v1 ${second.digest}`]);
    });

    test('what refers to an image is led to by what leads to that image, and so are its blobs', async () => {
      const metadata = await open();
      await putIndex(metadata, app, v1);
      const signature = manifest('signature');
      const payload = makeBlob('payload', 5).digest;
      const children = [child(payload), child(image.digest, 'subject')];
      await put(metadata, signature, { children });
      for (const digest of [signature.digest, payload]) {
        expect(await ways(metadata, digest)).toEqual([`v1 ${index.digest}`]);
      }
      // Not the other way round: whoever signs an image does not lead to it.
      await put(metadata, signature, { tag: v2, children });
      expect(await ways(metadata, image.digest)).toEqual([`v1 ${index.digest}`]);
    });

    test('what an upstream lists as referring to an image is led to by it, in that repository alone', async () => {
      const metadata = await open();
      await putIndex(metadata, app, v1);
      const listed = manifest('listed').digest;
      await metadata.putReferrers(app, image.digest, [listed, third.digest]);
      await metadata.putReferrers(app, image.digest, [listed]);
      for (const digest of [listed, third.digest]) {
        expect(await ways(metadata, digest)).toEqual([`v1 ${index.digest}`]);
      }
      await putIndex(metadata, other, v1);
      expect(await ways(metadata, listed, { key: other })).toEqual([`nothing ${listed}`]);
    });

    test('no way crosses from one repository to another, nor to its namesake of another registry', async () => {
      const metadata = await open();
      await putIndex(metadata, app, v1);
      for (const key of [other, namesake]) {
        for (const digest of [index.digest, image.digest, layer]) {
          expect(await ways(metadata, digest, { key })).toEqual([`nothing ${digest}`]);
        }
      }
      // The other repository has the image, but not the index that leads to it here.
      await put(metadata, image, { key: other, tag: v2, children: [child(layer)] });
      expect(await ways(metadata, layer, { key: other })).toEqual([`v2 ${image.digest}`]);
      expect(await ways(metadata, layer)).toEqual([`v1 ${index.digest}`]);
    });

    test('what lies on the way is noted where it is asked for', async () => {
      const metadata = await open();
      await putIndex(metadata, app, v1);
      await put(metadata, first, { tag: v2, children: [child(layer)] });
      const noted = [image.digest, third.digest, layer];
      expect(await ways(metadata, layer, { noted })).toEqual([
        `v1 ${index.digest} ${image.digest}`,
        `v2 ${first.digest}`,
      ]);
    });

    test('those who refer to each other lead nowhere', async () => {
      const metadata = await open();
      await metadata.putReferrers(app, first.digest, [second.digest]);
      await metadata.putReferrers(app, second.digest, [first.digest]);
      const noted = [first.digest, second.digest];
      expect(await ways(metadata, first.digest, { noted })).toEqual([]);
    });
  });
}
