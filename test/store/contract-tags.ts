import { describe, expect, test } from 'vitest';
import type { Digest } from '../../src/oci/digest.ts';
import type { StoredManifest } from '../../src/store/manifest-records.ts';
import type { Metadata } from '../../src/store/metadata.ts';
import type { TagRecords } from '../../src/store/tag-records.ts';
import { manifest, mustKey, mustTag } from '../helpers/stored.ts';
import { app, layer, namesake, other, put, v1, v2 } from './contract-content.ts';

const [first, second, third] = [manifest('1'), manifest('2'), manifest('3')];

/**
 * What every {@link TagRecords} promises: what tags are served as, and what becomes of them.
 * @param open opens an empty index that is gone when the test ends
 */
export function describeTags(name: string, open: () => Promise<Metadata>): void {
  describe(`${name} as TagRecords`, () => {
    test('an empty index knows none, and forgetting is harmless', async () => {
      const metadata = await open();
      expect(await metadata.tags.get(app, v1)).toBeUndefined();
      expect(await metadata.tags.names(app)).toEqual([]);
      expect(await metadata.tags.history(app, undefined)).toEqual([]);
      await metadata.tags.drop(app, v1);
      const seen = { digest: layer, upstream: 'u', at: 1, confirms: true };
      expect(await metadata.tags.observe(app, v1, seen)).toBeUndefined();
      expect(await metadata.tags.release(app, v1, 1)).toBe(false);
      expect(await metadata.tags.get(app, v1)).toBeUndefined();
    });

    test('a tag says when it was confirmed, and when it came to name another digest', async () => {
      const metadata = await open();
      const [first, second] = [manifest('1'), manifest('2')];
      const put = (stored: StoredManifest, at: number) =>
        metadata.manifests.put(app, stored, [], { tag: v1, upstream: 'u', at });
      const free = { pinned: false, candidate: undefined };
      await put(first, 100);
      expect(await metadata.tags.get(app, v1)).toEqual({
        ...free,
        digest: first.digest,
        checkedAt: 100,
        changedAt: 100,
      });
      const seen = { digest: first.digest, upstream: 'u', at: 200, confirms: true };
      await metadata.tags.observe(app, v1, seen);
      expect(await metadata.tags.get(app, v1)).toEqual({
        ...free,
        digest: first.digest,
        checkedAt: 200,
        changedAt: 100,
      });
      await put(first, 300);
      expect(await metadata.tags.get(app, v1)).toMatchObject({ checkedAt: 300, changedAt: 100 });
      await put(second, 400);
      expect(await metadata.tags.get(app, v1)).toEqual({
        ...free,
        digest: second.digest,
        checkedAt: 400,
        changedAt: 400,
      });
    });

    test('a tag that is forgotten leaves its manifest readable by digest', async () => {
      const metadata = await open();
      const stored = manifest('kept');
      await metadata.manifests.put(app, stored, [], { tag: v1, upstream: 'u', at: 1 });
      await metadata.tags.drop(app, v1);
      expect(await metadata.tags.get(app, v1)).toBeUndefined();
      expect(await metadata.manifests.get(app, stored.digest)).toBeDefined();
    });

    test('tags come in lexical order, those of the repository alone', async () => {
      const metadata = await open();
      for (const name of ['v2', 'V1', 'latest', 'v10', '_x']) {
        await metadata.manifests.put(app, manifest('t'), [], { tag: mustTag(name), upstream: 'u', at: 1 });
      }
      await metadata.manifests.put(other, manifest('t'), [], {
        tag: mustTag('elsewhere'),
        upstream: 'u',
        at: 1,
      });
      expect(await metadata.tags.names(app)).toEqual(['V1', '_x', 'latest', 'v10', 'v2']);
      expect(await metadata.tags.names(app, { most: 2 })).toEqual(['V1', '_x']);
      expect(await metadata.tags.names(app, { after: '_x', most: 2 })).toEqual(['latest', 'v10']);
      expect(await metadata.tags.names(app, { after: 'm' })).toEqual(['v10', 'v2']);
      expect(await metadata.tags.names(app, { after: 'v2', most: 2 })).toEqual([]);
      expect(await metadata.tags.names(app, { most: 0 })).toEqual([]);
    });
  });

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
      const history = await metadata.tags.history(app, v1);
      expect(history.map((event) => [event.old, event.new, event.at])).toEqual([
        [first.digest, second.digest, 3],
        [undefined, first.digest, 1],
      ]);
    });

    test('what upstream says is noted beside what is served, with when it was first said, and is one move', async () => {
      const metadata = await open();
      await put(metadata, first, { tag: v1, at: 1 });
      const see = (digest: Digest, at: number, confirms = true) =>
        metadata.tags.observe(app, v1, { digest, upstream: 'up', at, confirms });
      expect(await see(second.digest, 10)).toEqual({
        tag: v1,
        action: 'moved',
        old: first.digest,
        new: second.digest,
        upstream: 'up',
        at: 10,
      });
      expect(await see(second.digest, 20)).toBeUndefined();
      expect(await metadata.tags.get(app, v1)).toEqual({
        digest: first.digest,
        checkedAt: 20,
        changedAt: 1,
        pinned: false,
        candidate: { digest: second.digest, since: 10 },
      });
      expect(await see(third.digest, 30)).toMatchObject({ old: second.digest, new: third.digest });
      expect((await metadata.tags.get(app, v1))?.candidate).toEqual({ digest: third.digest, since: 30 });
      expect(await see(first.digest, 40)).toMatchObject({ old: third.digest, new: first.digest });
      expect((await metadata.tags.get(app, v1))?.candidate).toBeUndefined();
      expect(await metadata.tags.history(app, v1)).toHaveLength(4);
    });

    test('a sighting that confirms nothing leaves the tag to be asked for again', async () => {
      const metadata = await open();
      await put(metadata, first, { tag: v1, at: 1 });
      const seen = { digest: second.digest, upstream: 'up', at: 10, confirms: false };
      await metadata.tags.observe(app, v1, seen);
      expect(await metadata.tags.get(app, v1)).toMatchObject({ checkedAt: 1, candidate: { since: 10 } });
    });

    test('a sighting confirms a tag that is what it was when upstream was asked, and no other', async () => {
      const metadata = await open();
      await put(metadata, first, { tag: v1, at: 1 });
      const known = await metadata.tags.get(app, v1);
      const see = (at: number) =>
        metadata.tags.observe(app, v1, { digest: first.digest, upstream: 'up', at, confirms: true, known });
      await see(10);
      expect(await metadata.tags.get(app, v1)).toMatchObject({ checkedAt: 10 });
      await see(20);
      expect(await metadata.tags.get(app, v1)).toMatchObject({ checkedAt: 10 });
    });

    test('a move that was noted is not told again when it is followed', async () => {
      const metadata = await open();
      await put(metadata, first, { tag: v1, at: 1 });
      const seen = { digest: second.digest, upstream: 'up', at: 10, confirms: true };
      await metadata.tags.observe(app, v1, seen);
      expect(await put(metadata, second, { tag: v1, at: 20 })).toBeUndefined();
      expect(await metadata.tags.get(app, v1)).toEqual({
        digest: second.digest,
        checkedAt: 20,
        changedAt: 20,
        pinned: false,
        candidate: undefined,
      });
      expect(await metadata.tags.history(app, v1)).toHaveLength(2);
    });

    test('a tag is set to what is stored, and to nothing else', async () => {
      const metadata = await open();
      await put(metadata, first, { tag: v1, at: 1 });
      await put(metadata, third, { key: other });
      for (const digest of [second.digest, third.digest]) {
        expect(await metadata.tags.set(app, v1, { digest, action: 'rolled back', at: 5 })).toBe(false);
      }
      expect(await metadata.tags.get(app, v1)).toMatchObject({ digest: first.digest, pinned: false });
      expect(await metadata.tags.history(app, v1)).toHaveLength(1);
    });

    test('a tag that is rolled back is pinned, knows what upstream says, and is told of once', async () => {
      const metadata = await open();
      await put(metadata, first, { tag: v1, at: 1 });
      await put(metadata, second, { tag: v1, at: 2 });
      const back = { digest: first.digest, action: 'rolled back', at: 3 } as const;
      expect(await metadata.tags.set(app, v1, back)).toBe(true);
      expect(await metadata.tags.get(app, v1)).toEqual({
        digest: first.digest,
        checkedAt: 2,
        changedAt: 3,
        pinned: true,
        candidate: { digest: second.digest, since: 2 },
      });
      expect(await metadata.tags.set(app, v1, { ...back, at: 4 })).toBe(true);
      const history = await metadata.tags.history(app, v1);
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

    test('a pinned tag stays where it is when what was being fetched for it arrives, and leads to that too', async () => {
      const metadata = await open();
      await put(metadata, first, { tag: v1, at: 1 });
      await put(metadata, second, { tag: v1, at: 2 });
      await metadata.tags.set(app, v1, { digest: first.digest, action: 'rolled back', at: 3 });
      expect(await put(metadata, third, { tag: v1, at: 4 })).toMatchObject({ new: third.digest });
      expect(await metadata.tags.get(app, v1)).toEqual({
        digest: first.digest,
        checkedAt: 4,
        changedAt: 3,
        pinned: true,
        candidate: { digest: third.digest, since: 4 },
      });
      const from = [{ digest: third.digest }];
      expect(await metadata.links.stepsUp(app, from, { current: false })).toMatchObject([{ tags: [v1] }]);
    });

    test('a tag is dropped as what it was known to be, or not at all', async () => {
      const metadata = await open();
      await put(metadata, first, { tag: v1, at: 1 });
      const known = await metadata.tags.get(app, v1);
      await put(metadata, second, { tag: v1, at: 1 });
      expect(await metadata.tags.drop(app, v1, known)).toBe(false);
      await metadata.tags.set(app, v1, { digest: first.digest, action: 'rolled back', at: 1 });
      expect(await metadata.tags.drop(app, v1, known)).toBe(false);
      const now = await metadata.tags.get(app, v1);
      expect(now).toMatchObject({ digest: first.digest, pinned: true });
      expect(await metadata.tags.drop(app, v1, now)).toBe(true);
      expect(await metadata.tags.get(app, v1)).toBeUndefined();
      expect(await metadata.tags.drop(app, v1, now)).toBe(true);
    });

    test('a tag that was never pulled can be locked, and is not pinned by it', async () => {
      const metadata = await open();
      await put(metadata, first);
      expect(await metadata.tags.set(app, v1, { digest: first.digest, action: 'locked', at: 5 })).toBe(true);
      expect(await metadata.tags.get(app, v1)).toEqual({
        digest: first.digest,
        checkedAt: 5,
        changedAt: 5,
        pinned: false,
        candidate: undefined,
      });
      expect(await metadata.tags.history(app, v1)).toMatchObject([{ action: 'locked', old: undefined }]);
    });

    test('a tag set to what upstream already says has nothing left that differs', async () => {
      const metadata = await open();
      await put(metadata, first, { tag: v1, at: 1 });
      await put(metadata, second);
      const seen = { digest: second.digest, upstream: 'up', at: 10, confirms: true };
      await metadata.tags.observe(app, v1, seen);
      await metadata.tags.set(app, v1, { digest: second.digest, action: 'rolled back', at: 20 });
      expect(await metadata.tags.get(app, v1)).toMatchObject({ digest: second.digest, candidate: undefined });
    });

    test('a tag that is released is asked for at the next pull; one that is not pinned cannot be', async () => {
      const metadata = await open();
      await put(metadata, first, { tag: v1, at: 10 });
      expect(await metadata.tags.release(app, v1, 11)).toBe(false);
      expect(await metadata.tags.release(app, v2, 11)).toBe(false);
      await metadata.tags.set(app, v1, { digest: first.digest, action: 'rolled back', at: 12 });
      expect(await metadata.tags.release(other, v1, 13)).toBe(false);
      expect(await metadata.tags.release(app, v1, 14)).toBe(true);
      expect(await metadata.tags.get(app, v1)).toMatchObject({
        pinned: false,
        checkedAt: 0,
        digest: first.digest,
      });
      expect((await metadata.tags.history(app, v1)).map(({ action }) => action)).toEqual([
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
      const told = (await metadata.tags.history(app, undefined)).map(({ tag, at }) => `${tag} ${at}`);
      expect(told).toEqual(['v1 3', 'v2 2', 'v1 1']);
      expect(await metadata.tags.history(app, v2)).toHaveLength(1);
      expect(await metadata.tags.history(mustKey('ghcr.io', 'org/none'), undefined)).toEqual([]);
    });
  });
}
