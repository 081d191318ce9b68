import { mkdir, open, readdir, rename, stat, unlink } from 'node:fs/promises';
import path from 'node:path';
import { type Digest, parseDigest } from '../../oci/digest.ts';
import type { BlobFile, BlobStore } from '../blob-store.ts';
import type { Layout } from './layout.ts';
import { ignoreMissing, openFile } from './open-file.ts';

/** Blobs as plain files on a local disk, named by their digest. */
export class DiskBlobStore implements BlobStore {
  readonly #layout: Layout;

  constructor(layout: Layout) {
    this.#layout = layout;
  }

  async size(digest: Digest): Promise<number | undefined> {
    const found = await stat(this.#layout.blob(digest)).catch(ignoreMissing);
    return found?.size;
  }

  open(digest: Digest): Promise<BlobFile | undefined> {
    return openFile(this.#layout.blob(digest));
  }

  async adopt(digest: Digest, from: string): Promise<void> {
    const to = this.#layout.blob(digest);
    const folder = path.dirname(to);
    const made = await mkdir(folder, { recursive: true });
    await sync(from);
    await rename(from, to);
    await sync(folder);
    if (made !== undefined) await syncParents(folder, path.dirname(made));
  }

  async *digests(): AsyncGenerator<Digest, void, undefined> {
    for (const algorithm of await namesIn(this.#layout.blobs)) {
      for (const shard of await namesIn(path.join(this.#layout.blobs, algorithm))) {
        for (const hex of await namesIn(path.join(this.#layout.blobs, algorithm, shard))) {
          const digest = parseDigest(`${algorithm}:${hex}`);
          if (digest !== undefined && hex.startsWith(shard)) yield digest;
        }
      }
    }
  }

  async quarantine(digest: Digest): Promise<boolean> {
    await mkdir(this.#layout.quarantine, { recursive: true });
    try {
      await rename(this.#layout.blob(digest), this.#layout.quarantined(digest));
      return true;
    } catch (error) {
      ignoreMissing(error as NodeJS.ErrnoException);
      return false;
    }
  }

  async delete(digest: Digest): Promise<boolean> {
    try {
      await unlink(this.#layout.blob(digest));
      return true;
    } catch (error) {
      ignoreMissing(error as NodeJS.ErrnoException);
      return false;
    }
  }
}

async function namesIn(folder: string): Promise<readonly string[]> {
  try {
    return await readdir(folder);
  } catch (error) {
    // A file among the folders is no blob; a folder may be gone by now.
    if ((error as NodeJS.ErrnoException).code === 'ENOTDIR') return [];
    ignoreMissing(error as NodeJS.ErrnoException);
    return [];
  }
}

/** Makes new folders durable: the entry of each is in the folder above it. */
async function syncParents(folder: string, top: string): Promise<void> {
  for (let parent = path.dirname(folder); parent.length >= top.length; parent = path.dirname(parent)) {
    await sync(parent);
  }
}

async function sync(file: string): Promise<void> {
  const handle = await open(file, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
