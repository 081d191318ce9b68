import type { BlobRecords } from './blob-records.ts';
import type { Journal } from './journal.ts';
import type { LinkRecords } from './link-records.ts';
import type { ListingRecords } from './listing-records.ts';
import type { ManifestRecords } from './manifest-records.ts';
import type { TagRecords } from './tag-records.ts';

/**
 * The index of what is stored, and of who may read it, in six contracts. Every method of theirs is one whole
 * transaction over all of it.
 */
export interface Metadata {
  readonly tags: TagRecords;
  readonly manifests: ManifestRecords;
  readonly links: LinkRecords;
  readonly blobs: BlobRecords;
  readonly listings: ListingRecords;
  readonly journal: Journal;
  /** Ends all use; idempotent. */
  close(): Promise<void>;
}
