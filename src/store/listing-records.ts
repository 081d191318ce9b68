import type { RepositoryKey } from '../oci/repository-key.ts';

/** A cached answer to a listing request, with the media type it is served as. */
export type StoredListing = {
  readonly body: Buffer;
  readonly mediaType: string;
  readonly checkedAt: number;
};

/** Cached answers to listing requests. */
export interface ListingRecords {
  /** A cached listing under `name` (free text, chosen by the caller). */
  get(key: RepositoryKey, name: string): Promise<StoredListing | undefined>;
  /** Keeps a listing, in place of an earlier one under the same name. */
  put(key: RepositoryKey, name: string, listing: StoredListing): Promise<void>;
  /** Forgets a listing. */
  drop(key: RepositoryKey, name: string): Promise<void>;
}
