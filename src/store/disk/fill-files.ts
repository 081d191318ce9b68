import { mkdir, readdir, rename, rm, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import type { Interval } from '../../lib/range-set.ts';
import type { Digest } from '../../oci/digest.ts';
import type { BlobFile } from '../blob-store.ts';
import { digestOfFill, type Layout, mapOfFill } from './layout.ts';
import { openFile } from './open-file.ts';

/** The local files of downloads under way, one a digest. Those of an earlier run are resumed unless they are stale. */
export class FillFiles {
  readonly #layout: Layout;

  constructor(layout: Layout) {
    this.#layout = layout;
  }

  /** The path of a digest's fill. */
  path(digest: Digest): string {
    return this.#layout.fill(digest);
  }

  /** Opens a fill for positional reads while it grows; its `size` is that of the moment of opening. */
  open(digest: Digest): Promise<BlobFile | undefined> {
    return openFile(this.path(digest));
  }

  /** Says what is in a fill that nothing has open for writing: its map lags behind where a thread ended that wrote it. */
  async saveMap(digest: Digest, arrived: readonly Interval[]): Promise<void> {
    const map = mapOfFill(this.path(digest));
    await writeFile(`${map}.new`, JSON.stringify(arrived));
    await rename(`${map}.new`, map);
  }

  /** Removes a fill and its map; no error when there is none. */
  async remove(digest: Digest): Promise<void> {
    await rm(this.path(digest), { force: true });
    await rm(mapOfFill(this.path(digest)), { force: true });
  }

  /**
   * Makes the folder, and removes from it what no fill of this version left there and what has not grown
   * since `before` (milliseconds since the epoch). Returns how many files were removed.
   */
  async prepare(before: number): Promise<number> {
    await mkdir(this.#layout.fills, { recursive: true });
    let removed = 0;
    for (const name of await readdir(this.#layout.fills)) {
      const file = path.join(this.#layout.fills, name);
      const { mtimeMs } = await stat(file);
      if (digestOfFill(name) !== undefined && mtimeMs >= before) continue;
      await rm(file, { force: true, recursive: true });
      removed += 1;
    }
    return removed;
  }
}
