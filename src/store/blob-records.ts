import type { Digest } from '../oci/digest.ts';

/** A blob that is recorded as stored whole: its bytes, and when (milliseconds since the epoch). */
export type StoredBlob = { readonly digest: Digest; readonly size: number; readonly storedAt: number };

/** The blobs that are stored whole. */
export interface BlobRecords {
  /** Records that a blob is stored whole. */
  put(digest: Digest, size: number, at: number): Promise<void>;
  /** Forgets that a blob is stored. */
  drop(digest: Digest): Promise<void>;
  /** Every blob that is recorded as stored. */
  all(): Promise<readonly StoredBlob[]>;
  /** When blobs were stored, in milliseconds since the epoch; those that are not are left out. */
  storedAt(digests: readonly Digest[]): Promise<ReadonlyMap<Digest, number>>;
}
