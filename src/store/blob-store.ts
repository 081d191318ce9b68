import type { Digest } from '../oci/digest.ts';

/** A whole blob, open for positional reads until closed; deleting the blob meanwhile does not disturb it. */
export type BlobFile = {
  /** Bytes. */
  readonly size: number;
  /** Reads up to `length` bytes at `position` into `buffer` from its start; returns how many, 0 only at the end. */
  read(buffer: Buffer, length: number, position: number): Promise<number>;
  /** Must be called exactly once. */
  close(): Promise<void>;
};

/** Content-addressed storage of whole, verified blobs. Nothing partial is ever visible through it. */
export interface BlobStore {
  /** The blob's size in bytes; `undefined` when it is not stored. */
  size(digest: Digest): Promise<number | undefined>;
  /** Opens a blob; `undefined` when it is not stored. */
  open(digest: Digest): Promise<BlobFile | undefined>;
  /**
   * Takes over a local file whose bytes were verified to be `digest`, durably: once this returns the blob
   * survives a power cut, and the file at `path` is gone. Idempotent when the blob is already stored.
   */
  adopt(digest: Digest, path: string): Promise<void>;
  /** The digests of all blobs, in no particular order; those that come or go meanwhile may be missed. */
  digests(): AsyncIterable<Digest>;
  /** Sets a blob that is not what its digest says aside, where nobody is served it; `false` when it was not stored. */
  quarantine(digest: Digest): Promise<boolean>;
  /** Removes a blob; `false` when it was not stored. */
  delete(digest: Digest): Promise<boolean>;
}
