import { mkdir, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { FillFiles } from '../../../src/store/disk/fill-files.ts';
import { digestOfFill, mapOfFill, storageLayout } from '../../../src/store/disk/layout.ts';
import { makeBlob, mustDigest } from '../../helpers/image.ts';
import { filesUnder, openFilesUnder } from '../../helpers/leaks.ts';
import { temporaryDirectory } from '../../helpers/start-proxy.ts';
import { digestText } from '../../oci/arbitraries.ts';

const { digest, bytes } = makeBlob('fill', 1_000);

async function filesIn(root: string): Promise<FillFiles> {
  const files = new FillFiles(storageLayout(root));
  await files.prepare(0);
  return files;
}

test('a fill that is not there cannot be opened, and removing it is harmless', async () => {
  const files = await filesIn(await temporaryDirectory());
  expect(await files.open(digest)).toBeUndefined();
  await files.remove(digest);
});

test('a fill can be read while it grows, and after it was removed', async () => {
  const root = await temporaryDirectory();
  const files = await filesIn(root);
  await writeFile(files.path(digest), bytes.subarray(0, 400));
  const file = await files.open(digest);
  expect(file?.size).toBe(400);
  await writeFile(files.path(digest), bytes.subarray(400), { flag: 'a' });
  await files.remove(digest);
  const buffer = Buffer.alloc(1_000);
  expect(await file?.read(buffer, 1_000, 0)).toBe(1_000);
  expect(buffer.equals(bytes)).toBe(true);
  await file?.close();
  expect(openFilesUnder(root)).toEqual([]);
});

test('removing a fill removes its map as well', async () => {
  const root = await temporaryDirectory();
  const files = await filesIn(root);
  await writeFile(files.path(digest), bytes);
  await writeFile(mapOfFill(files.path(digest)), '[[0,1000]]');
  await files.remove(digest);
  expect(filesUnder(join(root, 'fills'))).toEqual([]);
});

test('at the start what is stale or foreign is removed, and what may be resumed is kept', async () => {
  const root = await temporaryDirectory();
  const files = await filesIn(root);
  const [fresh, stale] = [makeBlob('fresh', 1).digest, makeBlob('stale', 1).digest];
  const now = Date.now();
  const left = [fresh, stale].map((each) => files.path(each));
  const foreign = [`${mapOfFill(files.path(fresh))}.new`, join(root, 'fills', 'notes.txt')];
  for (const path of [...left, ...left.map(mapOfFill), ...foreign]) await writeFile(path, 'x');
  await mkdir(join(root, 'fills', 'folder', 'in it'), { recursive: true });
  const hour = 3_600_000;
  for (const path of [files.path(stale), mapOfFill(files.path(stale))]) {
    await utimes(path, now / 1_000, (now - 2 * hour) / 1_000);
  }
  expect(await files.prepare(now - hour)).toBe(5);
  const kept = files.path(fresh).split('/').at(-1);
  expect(filesUnder(join(root, 'fills'))).toEqual([kept, `${kept}.map`]);
  expect(await files.prepare(now - hour)).toBe(0);
});

test('every digest has a path of its own inside the storage, and the name leads back to it', () => {
  const layout = storageLayout('/storage');
  fc.assert(
    fc.property(digestText, (text) => {
      const one = mustDigest(text);
      const [blob, fill] = [layout.blob(one), layout.fill(one)];
      expect(blob).toMatch(/^\/storage\/blobs\/sha(256|512)\/[0-9a-f]{2}\/[0-9a-f]+$/);
      expect(fill).toMatch(/^\/storage\/fills\/sha(256|512)-[0-9a-f]+$/);
      expect(digestOfFill(fill.slice('/storage/fills/'.length))).toBe(one);
      expect(digestOfFill(mapOfFill(fill).slice('/storage/fills/'.length))).toBe(one);
    }),
  );
});

test.each(['', '-', 'sha256', 'sha256-abc', `sha256:${'0'.repeat(64)}x`, '..', 'index.db', '.map'])(
  'a file called %j is no fill',
  (name) => {
    expect(digestOfFill(name)).toBeUndefined();
  },
);
