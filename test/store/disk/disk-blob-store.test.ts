import { spawn } from 'node:child_process';
import { once } from 'node:events';
import * as fs from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test, vi } from 'vitest';
import { DiskBlobStore } from '../../../src/store/disk/disk-blob-store.ts';
import { storageLayout } from '../../../src/store/disk/layout.ts';
import { within } from '../../helpers/gate.ts';
import { digestOf, makeBlob } from '../../helpers/image.ts';
import { filesUnder, openFilesUnder } from '../../helpers/leaks.ts';
import { temporaryDirectory } from '../../helpers/start-proxy.ts';
import { describeBlobStore, localFile } from './contract-blob-store.ts';

/** What the store did to the disk, in order; filled in by the doubles below. */
const steps = vi.hoisted((): string[] => []);

vi.mock('node:fs/promises', async (original) => {
  const real = await original<typeof import('node:fs/promises')>();
  return {
    ...real,
    open: async (...args: Parameters<typeof real.open>) => {
      const handle = await real.open(...args);
      const sync = handle.sync.bind(handle);
      handle.sync = async () => {
        steps.push(`sync ${String(args[0])}`);
        await sync();
      };
      return handle;
    },
    rename: async (from: string, to: string) => {
      steps.push(`rename ${from} ${to}`);
      await real.rename(from, to);
    },
  };
});

describeBlobStore('DiskBlobStore', async () => new DiskBlobStore(storageLayout(await temporaryDirectory())));

test('a blob is one file, named by its digest', async () => {
  const root = await temporaryDirectory();
  const blob = makeBlob('named', 10);
  await new DiskBlobStore(storageLayout(root)).adopt(blob.digest, await localFile(blob));
  const hex = blob.digest.slice(7);
  expect(filesUnder(root)).toEqual([`blobs/sha256/${hex.slice(0, 2)}/${hex}`]);
});

test('the bytes are on the disk before the name is, and the name before adopt returns', async () => {
  const root = await temporaryDirectory();
  const blob = makeBlob('durable', 10);
  const [from, to] = [await localFile(blob), storageLayout(root).blob(blob.digest)];
  steps.length = 0;
  await new DiskBlobStore(storageLayout(root)).adopt(blob.digest, from);
  const folder = join(to, '..');
  const order = [`sync ${from}`, `rename ${from} ${to}`, `sync ${folder}`].map((step) => steps.indexOf(step));
  expect(order).toEqual(order.toSorted((a, b) => a - b));
  expect(order).not.toContain(-1);
});

test('a folder made for a blob is on the disk as well before adopt returns', async () => {
  const root = await temporaryDirectory();
  const blob = makeBlob('durable', 10);
  const folder = join(storageLayout(root).blob(blob.digest), '..');
  steps.length = 0;
  await new DiskBlobStore(storageLayout(root)).adopt(blob.digest, await localFile(blob));
  // fsync(2): the entry of a new folder is durable only once the folder that holds it was synced.
  expect(steps).toContain(`sync ${join(folder, '..')}`);
});

test('a process killed while it adopts leaves whole blobs and nothing else among them', async () => {
  const root = await temporaryDirectory();
  const incoming = join(root, 'incoming');
  await fs.mkdir(incoming);
  const script = `
    import { createHash, randomBytes } from 'node:crypto';
    import { writeFileSync } from 'node:fs';
    import { DiskBlobStore } from ${JSON.stringify(new URL('../../../src/store/disk/disk-blob-store.ts', import.meta.url).href)};
    import { storageLayout } from ${JSON.stringify(new URL('../../../src/store/disk/layout.ts', import.meta.url).href)};
    const store = new DiskBlobStore(storageLayout(${JSON.stringify(root)}));
    const adopt = async (slot) => {
      for (let turn = 0; ; turn++) {
        const bytes = randomBytes(50_000);
        const path = ${JSON.stringify(`${incoming}/`)} + slot + '-' + turn;
        writeFileSync(path, bytes);
        const digest = 'sha256:' + createHash('sha256').update(bytes).digest('hex');
        await store.adopt(digest, path);
        process.stdout.write(digest + '\\n');
      }
    };
    await Promise.all([adopt('a'), adopt('b'), adopt('c')]);
  `;
  const child = spawn(process.execPath, ['--input-type=module-typescript', '--eval', script]);
  const ended = once(child, 'exit');
  let told = '';
  const enough = Promise.withResolvers<void>();
  child.stdout.on('data', (text) => {
    told += String(text);
    if (told.split('\n').length > 20) enough.resolve();
  });
  await within(enough.promise, 'twenty blobs to be adopted');
  child.kill('SIGKILL');
  await ended;
  const stored = filesUnder(join(root, 'blobs'));
  for (const file of stored) {
    const bytes = await fs.readFile(join(root, 'blobs', file));
    expect(digestOf(bytes).slice(7)).toBe(file.split('/').at(-1));
  }
  // The last line may be half a one, since the process was killed.
  const promised = told.split('\n').slice(0, -1);
  const names = new Set(stored.map((file) => `sha256:${file.split('/').at(-1)}`));
  for (const digest of promised) expect(names).toContain(digest);
});

test('opening many blobs and closing them leaves no descriptor behind', async () => {
  const root = await temporaryDirectory();
  const store = new DiskBlobStore(storageLayout(root));
  const blob = makeBlob('opened', 10);
  await store.adopt(blob.digest, await localFile(blob));
  const files = await Promise.all(Array.from({ length: 10 }, () => store.open(blob.digest)));
  expect(openFilesUnder(root)).toHaveLength(10);
  for (const file of files) await file?.close();
  expect(openFilesUnder(root)).toEqual([]);
});
