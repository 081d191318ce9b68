import { mkdir, open, rename, stat, unlink } from 'node:fs/promises';
import path from 'node:path';
import type { Digest } from '../oci/digest.ts';
import type { BlobFile, BlobStore } from './blob-store.ts';
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
