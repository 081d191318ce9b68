import { rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import fc from 'fast-check';
import { expect, onTestFinished, test } from 'vitest';
import type { Digest } from '../../src/oci/digest.ts';
import type { BlobRecords, StoredBlob } from '../../src/store/blob-records.ts';
import type { BlobStore } from '../../src/store/blob-store.ts';
import { DiskBlobStore } from '../../src/store/disk/disk-blob-store.ts';
import { storageLayout } from '../../src/store/disk/layout.ts';
import { SqliteMetadata } from '../../src/store/sqlite/sqlite-metadata.ts';
import { StoredBlobs, type StoreFact } from '../../src/store/stored-blobs.ts';
import { makeBlob } from '../helpers/image.ts';
import { makeManualClock } from '../helpers/manual-clock.ts';
import { howOften } from '../helpers/runs.ts';
import { temporaryDirectory } from '../helpers/start-proxy.ts';
import { mustKey } from '../helpers/stored.ts';
import { holdableMetadata } from '../helpers/wrapped-metadata.ts';

const blob = makeBlob('blob', 1_000);
const { digest, bytes } = blob;
const app = mustKey('ghcr.io', 'org/app');

/** Stored blobs on a disk, and what they tell. */
async function scene() {
  const root = await temporaryDirectory();
  const layout = storageLayout(root);
  const metadata = SqliteMetadata.open(layout.index);
  onTestFinished(() => metadata.close());
  const disk = new DiskBlobStore(layout);
  const told: string[] = [];
  const open = (store: BlobStore = disk, records: BlobRecords = metadata.blobs) => {
    const tell = (fact: StoreFact) => told.push(fact.kind);
    return new StoredBlobs({ records, bytes: store, clock: makeManualClock(), facts: { tell } });
  };
  let files = 0;
  return {
    layout,
    metadata,
    disk,
    told,
    open,
    blobs: open(),
    /** A local file of the blob's bytes, or of others. */
    file: async (content: Buffer = bytes) => {
      files += 1;
      const path = join(root, `file-${files}`);
      await writeFile(path, content);
      return path;
    },
  };
}

async function contentOf(blobs: StoredBlobs): Promise<Buffer | undefined> {
  const file = await blobs.open(digest);
  if (file === undefined) return undefined;
  const buffer = Buffer.alloc(file.size);
  await file.read(buffer, file.size, 0);
  await file.close();
  return buffer;
}

test('a blob that was adopted is stored, told of, and readable by who it was brought for', async () => {
  const { blobs, file, told, metadata } = await scene();
  expect(await blobs.size(digest)).toBeUndefined();
  await blobs.adopt(digest, await file(), bytes.length, app);
  expect([await blobs.size(digest), await contentOf(blobs)]).toEqual([bytes.length, bytes]);
  expect(told).toEqual(['blob-stored']);
  expect((await metadata.links.get(app, digest))?.size).toBe(bytes.length);
  expect(await metadata.blobs.intended()).toEqual([]);
});

test('bytes that the index does not know are nobody’s', async () => {
  const { blobs, disk, file } = await scene();
  await disk.adopt(digest, await file());
  expect([await blobs.size(digest), await contentOf(blobs)]).toEqual([undefined, undefined]);
});

test('a crash between the two records leaves what the next start finds: stored when the bytes are there', async () => {
  const { open, disk, file, metadata, told } = await scene();
  const other = makeBlob('other', 10);
  await metadata.blobs.intend(digest, bytes.length);
  await metadata.blobs.intend(other.digest, 10);
  await disk.adopt(digest, await file());
  const after = open();
  expect(await after.recover()).toEqual({ stored: 1, lost: 1 });
  expect([await after.size(digest), await after.size(other.digest)]).toEqual([bytes.length, undefined]);
  expect(told).toEqual(['blob-stored']);
  expect(await metadata.blobs.intended()).toEqual([]);
  expect(await after.recover()).toEqual({ stored: 0, lost: 0 });
});

test('a file of another length than was intended is not taken for the blob', async () => {
  const { open, layout, file, metadata } = await scene();
  await metadata.blobs.intend(digest, bytes.length);
  const disk = new DiskBlobStore(layout);
  await disk.adopt(digest, await file(bytes.subarray(1)));
  expect(await open().recover()).toEqual({ stored: 0, lost: 1 });
});

test('a blob whose bytes are gone is forgotten when it is opened, and told of', async () => {
  const { blobs, file, layout, told } = await scene();
  await blobs.adopt(digest, await file(), bytes.length);
  await rm(layout.blob(digest));
  expect(await contentOf(blobs)).toBeUndefined();
  expect(await blobs.size(digest)).toBeUndefined();
  expect(told).toEqual(['blob-stored', 'blob-gone']);
});

test('who looks at the bytes learns that they are gone, and from then on everybody does', async () => {
  const { blobs, file, layout, told } = await scene();
  await blobs.adopt(digest, await file(), bytes.length);
  expect(await blobs.present(digest)).toBe(bytes.length);
  await rm(layout.blob(digest));
  expect(await blobs.size(digest)).toBe(bytes.length);
  expect(await blobs.present(digest)).toBeUndefined();
  expect([await blobs.size(digest), told.at(-1)]).toEqual([undefined, 'blob-gone']);
});

test('a blob that was cut short is set aside when it is opened', async () => {
  const { blobs, file, layout, told } = await scene();
  await blobs.adopt(digest, await file(), bytes.length);
  await rename(await file(bytes.subarray(0, 10)), layout.blob(digest));
  expect(await contentOf(blobs)).toBeUndefined();
  expect([await blobs.size(digest), told.at(-1)]).toEqual([undefined, 'blob-gone']);
});

test('what is held is not removed: by a reader, by a lease, by both', async () => {
  const { blobs, file } = await scene();
  await blobs.adopt(digest, await file(), bytes.length);
  const [lease, reader] = [blobs.lease(), await blobs.open(digest)];
  lease.hold(digest);
  lease.hold(digest);
  expect(await blobs.remove(digest)).toBe(false);
  lease.release();
  lease.release();
  expect(await blobs.remove(digest)).toBe(false);
  await reader?.close();
  expect(await blobs.remove(digest)).toBe(true);
  expect(await blobs.size(digest)).toBeUndefined();
  expect(await blobs.remove(digest)).toBe(false);
});

test('a removal that somebody overtakes with a lease loses: the blob is stored again', async () => {
  const { open, disk, file, metadata, told } = await scene();
  const dropped = Promise.withResolvers<void>();
  const goOn = Promise.withResolvers<void>();
  const records = forwarding(metadata.blobs, {
    drop: async (each: Digest) => {
      await metadata.blobs.drop(each);
      dropped.resolve();
      await goOn.promise;
    },
  });
  const blobs = open(disk, records);
  await blobs.adopt(digest, await file(), bytes.length);
  const removing = blobs.remove(digest);
  await dropped.promise;
  const lease = blobs.lease();
  lease.hold(digest);
  goOn.resolve();
  expect(await removing).toBe(false);
  expect([await blobs.size(digest), await contentOf(blobs)]).toEqual([bytes.length, bytes]);
  expect(told).toEqual(['blob-stored', 'blob-gone', 'blob-stored']);
});

test('a blob that is brought again while it is removed is there in the end', async () => {
  const { open, disk, file } = await scene();
  const deleting = Promise.withResolvers<void>();
  const goOn = Promise.withResolvers<void>();
  const order: string[] = [];
  const slow = forwarding<BlobStore>(disk, {
    delete: async (each: Digest) => {
      deleting.resolve();
      await goOn.promise;
      const deleted = await disk.delete(each);
      order.push('deleted');
      return deleted;
    },
    adopt: async (each: Digest, path: string) => {
      order.push('adopted');
      await disk.adopt(each, path);
    },
  });
  const blobs = open(slow);
  await blobs.adopt(digest, await file(), bytes.length);
  const removing = blobs.remove(digest);
  await deleting.promise;
  const adopting = blobs.adopt(digest, await file(), bytes.length);
  goOn.resolve();
  expect(await removing).toBe(true);
  await adopting;
  expect(order).toEqual(['adopted', 'deleted', 'adopted']);
  expect(await contentOf(blobs)).toEqual(bytes);
});

test('a blob that is stored while the index looks for it is found', async () => {
  const { open, disk, file, metadata } = await scene();
  const { metadata: held, hold } = holdableMetadata(metadata);
  const blobs = open(disk, held.blobs);
  const [sized, opened] = [hold('blobs.get', 'answer'), hold('blobs.get', 'answer')];
  const looks = [blobs.size(digest), contentOf(blobs)] as const;
  await Promise.all([sized.reached, opened.reached]);
  await blobs.adopt(digest, await file(), bytes.length);
  sized.release();
  opened.release();
  expect(await Promise.all(looks)).toEqual([bytes.length, bytes]);
});

test('a blob that is brought while it is found to be missing stays', async () => {
  const { open, disk, file, metadata, layout } = await scene();
  const { metadata: held, hold } = holdableMetadata(metadata);
  const blobs = open(disk, held.blobs);
  await blobs.adopt(digest, await file(), bytes.length);
  await rm(layout.blob(digest));
  const dropped = hold('blobs.drop', 'effect');
  const forgotten = blobs.forgetMissing(digest);
  await dropped.reached;
  const brought = blobs.adopt(digest, await file(), bytes.length);
  dropped.release();
  expect(await forgotten).toBe(true);
  await brought;
  expect([await blobs.size(digest), await contentOf(open())]).toEqual([bytes.length, bytes]);
});

test('a size that was looked up before the blob was forgotten is not remembered', async () => {
  const { open, disk, file, metadata } = await scene();
  const found = Promise.withResolvers<void>();
  const goOn = Promise.withResolvers<void>();
  let slow = false;
  const records = forwarding(metadata.blobs, {
    get: async (each: Digest): Promise<StoredBlob | undefined> => {
      const answer = await metadata.blobs.get(each);
      if (!slow) return answer;
      found.resolve();
      await goOn.promise;
      return answer;
    },
  });
  await open().adopt(digest, await file(), bytes.length);
  const blobs = open(disk, records);
  slow = true;
  const early = blobs.size(digest);
  await found.promise;
  slow = false;
  await blobs.setAside(digest);
  goOn.resolve();
  await early;
  expect(await blobs.size(digest)).toBeUndefined();
});

test('whatever brings, holds, opens and removes a blob at once, who holds it and saw it stored can read it', async () => {
  const step = fc.constantFrom('bring', 'remove', 'read', 'set aside', 'forget missing');
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 10 }), fc.scheduler(), async (steps, scheduler) => {
      const { records, store } = inMemory((name) => scheduler.schedule(Promise.resolve(), name));
      const facts = { tell: () => undefined };
      const blobs = new StoredBlobs({ records, bytes: store, clock: makeManualClock(), facts });
      const work = steps.map(async (what) => {
        if (what === 'bring') return blobs.adopt(digest, 'file', bytes.length);
        if (what === 'remove') return void (await blobs.remove(digest));
        if (what === 'set aside') return void (await blobs.setAside(digest));
        if (what === 'forget missing') return void (await blobs.forgetMissing(digest));
        const lease = blobs.lease();
        lease.hold(digest);
        const stored = await blobs.size(digest);
        const content = stored === undefined ? undefined : await contentOf(blobs);
        // What is set aside is wrong: nobody keeps it.
        if (!steps.includes('set aside')) expect(content).toEqual(stored === undefined ? undefined : bytes);
        lease.release();
      });
      await scheduler.waitFor(Promise.all(work));
      const found = Promise.all([records.get(digest), store.size(digest), blobs.size(digest)]);
      const [recorded, there, told] = await scheduler.waitFor(found);
      expect([recorded?.size, told]).toEqual([there, there]);
    }),
    { numRuns: howOften(1000, 300) },
  );
});

/** An index and a disk that take turns with everything else, before and after each of their steps. */
function inMemory(turn: (name: string) => Promise<void>): { records: BlobRecords; store: BlobStore } {
  const recorded = new Map<Digest, StoredBlob>();
  const files = new Set<Digest>();
  const late = async <T>(name: string, work: () => T): Promise<T> => {
    await turn(`before ${name}`);
    const answer = work();
    await turn(`after ${name}`);
    return answer;
  };
  const records: Partial<BlobRecords> = {
    get: (each) => late('get', () => recorded.get(each)),
    intend: () => late('intend', () => undefined),
    put: (each, size, storedAt) =>
      late('put', () => {
        recorded.set(each, { digest: each, size, storedAt });
      }),
    drop: (each) =>
      late('drop', () => {
        recorded.delete(each);
      }),
  };
  const store: Partial<BlobStore> = {
    size: (each) => late('size', () => (files.has(each) ? bytes.length : undefined)),
    open: (each) =>
      late('open', () => {
        if (!files.has(each)) return undefined;
        const read = async (buffer: Buffer) => bytes.copy(buffer);
        return { size: bytes.length, read, close: async () => undefined };
      }),
    adopt: (each) =>
      late('adopt', () => {
        files.add(each);
      }),
    delete: (each) => late('delete', () => files.delete(each)),
    quarantine: (each) => late('quarantine', () => files.delete(each)),
  };
  return { records: records as BlobRecords, store: store as BlobStore };
}

/** An object that answers as another does but for some methods. */
function forwarding<T extends object>(inner: T, own: Partial<T>): T {
  return new Proxy(inner, {
    get: (target, name) => {
      const value = (Reflect.get(own, name) ?? Reflect.get(target, name)) as unknown;
      return typeof value === 'function' && !(name in own) ? value.bind(target) : value;
    },
  });
}
