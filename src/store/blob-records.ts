import type { Digest } from '../oci/digest.ts';
import type { RepositoryKey } from '../oci/repository-key.ts';

/** A blob that is recorded as stored whole: its bytes, and when (milliseconds since the epoch). */
export type StoredBlob = { readonly digest: Digest; readonly size: number; readonly storedAt: number };

/** A blob whose bytes are about to be put in their place, or have been, with no record of it yet. */
export type IntendedBlob = { readonly digest: Digest; readonly size: number };

/** The blobs that are stored whole. */
export interface BlobRecords {
  /** A blob that is recorded as stored. */
  get(digest: Digest): Promise<StoredBlob | undefined>;
  /** Records that the bytes of a blob are about to be put in their place. */
  intend(digest: Digest, size: number): Promise<void>;
  /** Every blob that was intended and neither put nor dropped since. */
  intended(): Promise<readonly IntendedBlob[]>;
  /**
   * Records that a blob is stored whole, in place of the intention.
   * @param reader a repository that may read it from then on, as after `LinkRecords.put`
   */
  put(digest: Digest, size: number, at: number, reader?: RepositoryKey): Promise<void>;
  /** Forgets that a blob is stored, or was intended. */
  drop(digest: Digest): Promise<void>;
  /** Every blob that is recorded as stored. */
  all(): Promise<readonly StoredBlob[]>;
  /** When blobs were stored, in milliseconds since the epoch; those that are not are left out. */
  storedAt(digests: readonly Digest[]): Promise<ReadonlyMap<Digest, number>>;
}
