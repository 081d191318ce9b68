import { LRUCache } from 'lru-cache';
import type { Clock } from '../lib/clock.ts';
import type { Tell } from '../lib/facts.ts';
import type { Digest } from '../oci/digest.ts';
import type { RepositoryKey } from '../oci/repository-key.ts';
import type { BlobRecords } from './blob-records.ts';
import type { BlobFile, BlobStore } from './blob-store.ts';

/** What becomes known about stored blobs. */
export type StoreFact =
  /** A blob is stored whole; `size` in bytes. */
  | { readonly kind: 'blob-stored'; readonly digest: Digest; readonly size: number }
  /** A blob is no longer stored. */
  | { readonly kind: 'blob-gone'; readonly digest: Digest };

/** Keeps blobs from being removed, whether they are stored already or not. */
export type Lease = {
  /** Adds a blob; to be called before it is found out whether it is stored. */
  hold(digest: Digest): void;
  /** Gives all of them up; idempotent. */
  release(): void;
};

/** Blobs whose size is kept in memory. */
const rememberedSizes = 50_000;

/**
 * The blobs that are stored whole. The index says which they are, and the blob store only holds their bytes: a blob is
 * recorded as intended before its bytes are put in their place, and as stored after that. So a crash leaves nothing
 * that {@link StoredBlobs.recover} does not find, and bytes without a record are nobody's.
 */
export class StoredBlobs {
  readonly #records: BlobRecords;
  readonly #bytes: BlobStore;
  readonly #clock: Clock;
  readonly #facts: Tell<StoreFact>;
  readonly #sizes = new LRUCache<Digest, number>({ max: rememberedSizes });
  readonly #leases = new Map<Digest, number>();
  /** Blobs whose bytes may be in their place already, though no record says so yet. */
  readonly #adopting = new Map<Digest, number>();
  /** The last change of a blob that is under way or waits its turn: changes of one blob come one after the other. */
  readonly #changing = new Map<Digest, Promise<unknown>>();
  /** How many were forgotten so far: what was looked up before that is perhaps no longer so. */
  #forgotten = 0;

  constructor(deps: { records: BlobRecords; bytes: BlobStore; clock: Clock; facts: Tell<StoreFact> }) {
    this.#records = deps.records;
    this.#bytes = deps.bytes;
    this.#clock = deps.clock;
    this.#facts = deps.facts;
  }

  /** The blob's size in bytes; `undefined` when it is not stored. */
  async size(digest: Digest): Promise<number | undefined> {
    return this.#sizes.get(digest) ?? (await this.#lookUp(digest));
  }

  /** As {@link StoredBlobs.size}, after a look at the bytes: a blob whose bytes are gone is forgotten. */
  async present(digest: Digest): Promise<number | undefined> {
    const size = await this.size(digest);
    if (size === undefined || !(await this.forgetMissing(digest))) return size;
    return undefined;
  }

  /**
   * Opens a blob, which stays stored until it is closed; `undefined` when it is not stored. One whose bytes are gone, or
   * not as many as the index says, is forgotten, so that it is fetched again.
   */
  async open(digest: Digest): Promise<BlobFile | undefined> {
    const lease = this.lease();
    lease.hold(digest);
    try {
      const file = await this.#open(digest);
      if (file === undefined) {
        lease.release();
        return undefined;
      }
      const close = async () => {
        try {
          await file.close();
        } finally {
          lease.release();
        }
      };
      return { size: file.size, read: file.read.bind(file), close };
    } catch (error) {
      lease.release();
      throw error;
    }
  }

  /**
   * Takes over a local file whose bytes were verified to be `digest`, durably: see `BlobStore.adopt`.
   * @param reader a repository that may read the blob from then on
   */
  async adopt(digest: Digest, path: string, size: number, reader?: RepositoryKey): Promise<void> {
    const lease = this.lease();
    lease.hold(digest);
    this.#adopting.set(digest, (this.#adopting.get(digest) ?? 0) + 1);
    try {
      await this.#alone(digest, async () => {
        await this.#records.intend(digest, size);
        await this.#bytes.adopt(digest, path);
        await this.record(digest, size, reader);
      });
    } finally {
      countDown(this.#adopting, digest);
      lease.release();
    }
  }

  /**
   * Records as stored a blob whose bytes are in their place and were verified.
   * @param reader a repository that may read the blob from then on
   */
  async record(digest: Digest, size: number, reader?: RepositoryKey): Promise<void> {
    await this.#records.put(digest, size, this.#clock.now(), reader);
    this.#sizes.set(digest, size);
    this.#facts.tell({ kind: 'blob-stored', digest, size });
  }

  /** Begins to keep blobs from being removed. */
  lease(): Lease {
    const held = new Set<Digest>();
    return {
      hold: (digest) => {
        if (held.has(digest)) return;
        held.add(digest);
        this.#leases.set(digest, (this.#leases.get(digest) ?? 0) + 1);
      },
      release: () => {
        for (const digest of held) countDown(this.#leases, digest);
        held.clear();
      },
    };
  }

  /**
   * Removes a blob unless somebody holds it, or comes to hold it meanwhile; `false` when it was kept, or was not stored.
   */
  remove(digest: Digest): Promise<boolean> {
    return this.#alone(digest, () => this.#remove(digest));
  }

  /** Sets a blob that is not what its digest says aside, where nobody is served it; `false` when there were no bytes. */
  setAside(digest: Digest): Promise<boolean> {
    return this.#alone(digest, async () => {
      await this.#forget(digest);
      return this.#bytes.quarantine(digest);
    });
  }

  /** Forgets a blob whose bytes are gone; `false`, and nothing is forgotten, when they are there. */
  async forgetMissing(digest: Digest): Promise<boolean> {
    if (this.#adopting.has(digest) || (await this.#bytes.size(digest)) !== undefined) return false;
    return this.#alone(digest, async () => {
      // They may have come while this waited its turn.
      if ((await this.#bytes.size(digest)) !== undefined) return false;
      await this.#forget(digest);
      return true;
    });
  }

  /**
   * Settles what a crash left open: a blob that was intended is recorded as stored when its bytes came into their place,
   * and else forgotten. Resolves to how many were found of either kind.
   */
  async recover(): Promise<{ readonly stored: number; readonly lost: number }> {
    const found = { stored: 0, lost: 0 };
    for (const { digest, size } of await this.#records.intended()) {
      // Only verified files are ever put there, and whole: a rename is.
      const stored = (await this.#bytes.size(digest)) === size;
      if (stored) await this.record(digest, size);
      else await this.#records.drop(digest);
      found[stored ? 'stored' : 'lost'] += 1;
    }
    return found;
  }

  async #lookUp(digest: Digest): Promise<number | undefined> {
    const before = this.#forgotten;
    const found = await this.#records.get(digest);
    // It may have been stored while the index was looking.
    if (found === undefined) return this.#sizes.get(digest);
    if (this.#forgotten === before) this.#sizes.set(digest, found.size);
    return found.size;
  }

  async #alone<T>(digest: Digest, change: () => Promise<T>): Promise<T> {
    const before = this.#changing.get(digest);
    const own = (async () => {
      await before?.catch(() => undefined);
      return change();
    })();
    this.#changing.set(digest, own);
    try {
      return await own;
    } finally {
      if (this.#changing.get(digest) === own) this.#changing.delete(digest);
    }
  }

  async #open(digest: Digest): Promise<BlobFile | undefined> {
    const size = await this.size(digest);
    if (size === undefined && !this.#adopting.has(digest)) return undefined;
    const file = await this.#bytes.open(digest);
    if (file === undefined) {
      if (size !== undefined) await this.forgetMissing(digest);
      return undefined;
    }
    if (size === undefined || file.size === size) return file;
    await file.close();
    await this.setAside(digest);
    return undefined;
  }

  /** The record goes first: who comes to hold the blob after that finds it absent, and who came before is seen here. */
  async #remove(digest: Digest): Promise<boolean> {
    if (this.#leases.has(digest)) return false;
    const record = await this.#records.get(digest);
    if (record === undefined) return false;
    await this.#forget(digest);
    if (this.#leases.has(digest)) {
      await this.#records.put(digest, record.size, record.storedAt);
      this.#facts.tell({ kind: 'blob-stored', digest, size: record.size });
      return false;
    }
    return this.#bytes.delete(digest);
  }

  async #forget(digest: Digest): Promise<void> {
    await this.#records.drop(digest);
    this.#forgotten += 1;
    this.#sizes.delete(digest);
    this.#facts.tell({ kind: 'blob-gone', digest });
  }
}

function countDown(counts: Map<Digest, number>, digest: Digest): void {
  const count = (counts.get(digest) ?? 0) - 1;
  if (count > 0) counts.set(digest, count);
  else counts.delete(digest);
}
