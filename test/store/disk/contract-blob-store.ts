import { createHash } from 'node:crypto';
import { access, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { Digest } from '../../../src/oci/digest.ts';
import type { BlobFile, BlobStore } from '../../../src/store/blob-store.ts';
import { makeBlob, type TestBlob } from '../../helpers/image.ts';
import { temporaryDirectory } from '../../helpers/start-proxy.ts';

/** Writes a blob to a local file of its own, as a finished download leaves it. */
export async function localFile(blob: TestBlob): Promise<string> {
  const path = join(await temporaryDirectory(), 'download');
  await writeFile(path, blob.bytes);
  return path;
}

async function readAll(file: BlobFile): Promise<Buffer> {
  const buffer = Buffer.alloc(file.size);
  let position = 0;
  while (position < file.size) {
    const piece = Buffer.alloc(7_000);
    const count = await file.read(piece, piece.length, position);
    if (count === 0) throw new Error(`the file ends at ${position}`);
    piece.copy(buffer, position, 0, count);
    position += count;
  }
  return buffer;
}

async function allIn(store: BlobStore): Promise<Digest[]> {
  const digests: Digest[] = [];
  for await (const digest of store.digests()) digests.push(digest);
  return digests;
}

async function contentOf(store: BlobStore, blob: TestBlob): Promise<Buffer | undefined> {
  const file = await store.open(blob.digest);
  if (file === undefined) return undefined;
  try {
    return await readAll(file);
  } finally {
    await file.close();
  }
}

/**
 * What every {@link BlobStore} promises.
 * @param open opens an empty store that is gone when the test ends
 */
export function describeBlobStore(name: string, open: () => Promise<BlobStore>): void {
  describe(`${name} as BlobStore`, () => {
    test('all that is stored is listed, of either algorithm, and nothing else', async () => {
      const store = await open();
      const listed = async () => (await allIn(store)).sort();
      expect(await listed()).toEqual([]);
      const blobs = ['a', 'b', 'c'].map((seed) => makeBlob(seed, 10));
      for (const blob of blobs) await store.adopt(blob.digest, await localFile(blob));
      const long = `sha512:${createHash('sha512').update('d').digest('hex')}` as Digest;
      await store.adopt(long, await localFile(makeBlob('d', 10)));
      expect(await listed()).toEqual([...blobs.map(({ digest }) => digest), long].sort());
    });

    test('what is set aside is served no longer, and can be stored again', async () => {
      const store = await open();
      const blob = makeBlob('aside', 10);
      expect(await store.quarantine(blob.digest)).toBe(false);
      for (let turn = 0; turn < 2; turn += 1) {
        await store.adopt(blob.digest, await localFile(blob));
        expect(await store.quarantine(blob.digest)).toBe(true);
        expect(await store.size(blob.digest)).toBeUndefined();
        expect(await allIn(store)).toEqual([]);
      }
    });

    test('what is not stored has no size, cannot be opened and cannot be deleted', async () => {
      const store = await open();
      const { digest } = makeBlob('absent', 1);
      expect(await store.size(digest)).toBeUndefined();
      expect(await store.open(digest)).toBeUndefined();
      expect(await store.delete(digest)).toBe(false);
    });

    test.each([0, 1, 100_000])('a blob of %i bytes comes back byte for byte', async (size) => {
      const store = await open();
      const blob = makeBlob('blob', size);
      const path = await localFile(blob);
      await store.adopt(blob.digest, path);
      expect(await store.size(blob.digest)).toBe(size);
      expect((await contentOf(store, blob))?.equals(blob.bytes)).toBe(true);
      await expect(access(path), 'the local file').rejects.toThrow();
    });

    test('blobs of both algorithms live side by side', async () => {
      const store = await open();
      const short = makeBlob('short', 10);
      const long = { ...makeBlob('long', 20), digest: `sha512:${'ab'.repeat(64)}` as TestBlob['digest'] };
      for (const blob of [short, long]) await store.adopt(blob.digest, await localFile(blob));
      expect(await store.size(short.digest)).toBe(10);
      expect(await store.size(long.digest)).toBe(20);
    });

    test('adopting a blob that is stored already takes the file away and changes nothing', async () => {
      const store = await open();
      const blob = makeBlob('twice', 5_000);
      await store.adopt(blob.digest, await localFile(blob));
      const second = await localFile(blob);
      await store.adopt(blob.digest, second);
      expect((await contentOf(store, blob))?.equals(blob.bytes)).toBe(true);
      await expect(access(second)).rejects.toThrow();
    });

    test('reading stops at the end, and takes no more than asked for', async () => {
      const store = await open();
      const blob = makeBlob('edges', 100);
      await store.adopt(blob.digest, await localFile(blob));
      const file = await store.open(blob.digest);
      const buffer = Buffer.alloc(200, 0xee);
      expect(await file?.read(buffer, 10, 95)).toBe(5);
      expect(await file?.read(buffer, 10, 100)).toBe(0);
      expect(await file?.read(buffer, 3, 0)).toBe(3);
      expect(
        buffer.subarray(0, 5).equals(Buffer.concat([blob.bytes.subarray(0, 3), blob.bytes.subarray(98)])),
      ).toBe(true);
      expect(buffer.subarray(5).every((byte) => byte === 0xee)).toBe(true);
      await file?.close();
    });

    test('deleting does not disturb who reads, and the blob can be stored again', async () => {
      const store = await open();
      const blob = makeBlob('deleted', 50_000);
      await store.adopt(blob.digest, await localFile(blob));
      const file = await store.open(blob.digest);
      expect(await store.delete(blob.digest)).toBe(true);
      expect(await store.size(blob.digest)).toBeUndefined();
      expect(file && (await readAll(file)).equals(blob.bytes)).toBe(true);
      await file?.close();
      await store.adopt(blob.digest, await localFile(blob));
      expect(await store.size(blob.digest)).toBe(50_000);
    });

    test('while blobs are adopted, others see each of them whole or not at all', async () => {
      const store = await open();
      const blobs = Array.from({ length: 20 }, (_, index) => makeBlob(`many-${index}`, 20_000 + index));
      const paths = await Promise.all(blobs.map(localFile));
      let adopting = true;
      const watch = async (blob: TestBlob) => {
        const seen: (number | undefined)[] = [];
        while (adopting) {
          const size = await store.size(blob.digest);
          if (size !== seen.at(-1)) seen.push(size);
        }
        return seen;
      };
      const watching = blobs.map(watch);
      await Promise.all(blobs.map((blob, index) => store.adopt(blob.digest, paths[index] ?? '')));
      adopting = false;
      for (const [index, seen] of (await Promise.all(watching)).entries()) {
        expect([undefined, 20_000 + index]).toEqual(expect.arrayContaining(seen));
      }
    });

    test('adopting a file that is not there fails and stores nothing', async () => {
      const store = await open();
      const { digest } = makeBlob('lost', 1);
      await expect(store.adopt(digest, join(await temporaryDirectory(), 'none'))).rejects.toThrow();
      expect(await store.size(digest)).toBeUndefined();
    });
  });
}
