import type { Digest } from '../oci/digest.ts';
import type { RepositoryKey } from '../oci/repository-key.ts';
import type { StoredManifest } from '../store/manifest-records.ts';
import type { StoreFact } from '../store/stored-blobs.ts';
import type { TagEvent } from '../store/tag-records.ts';
import type { ResolvedRepository } from './repository.ts';

/** What becomes known while images are pulled, stored and looked after. */
export type PullFact =
  | StoreFact
  /** What leads to digests of a repository is not what it was: by tags, manifests or referrers. */
  | {
      readonly kind: 'provenance-changed';
      readonly key: RepositoryKey;
      /** Whether tags name something else than before. */
      readonly tags: boolean;
      /** Whether a manifest became known. */
      readonly manifest: boolean;
    }
  /** An upstream says that a tag names another digest than it last said. */
  | { readonly kind: 'tag-moved'; readonly key: RepositoryKey; readonly move: TagEvent }
  /** A client got a manifest whole. */
  | {
      readonly kind: 'manifest-served';
      readonly target: ResolvedRepository;
      readonly manifest: StoredManifest;
    }
  /** A manifest is no longer stored. */
  | { readonly kind: 'manifest-gone'; readonly digest: Digest }
  /** The download of a blob ended. */
  | { readonly kind: 'fill-ended'; readonly digest: Digest; readonly report: FillReport }
  /** A second request was sent because the first was late. */
  | { readonly kind: 'request-hedged' }
  /** An upstream sent wrong bytes, and is asked for no content for a while. */
  | { readonly kind: 'upstream-distrusted'; readonly upstream: string }
  /** What became of a blob that was fetched before a client asked for it. */
  | { readonly kind: 'blob-prefetched'; readonly result: PrefetchResult };

/** How a download ended: with the blob stored, or without it: failed, with wrong bytes, or given up. */
export type FillReport =
  | { readonly result: 'stored' /** Of the blob. */; readonly bytes: number }
  | { readonly result: 'failed' | 'corrupt' | 'abandoned' };

/** What became of a blob that was fetched ahead: downloaded, given up, too large to fetch on suspicion, or too much was waiting. */
export type PrefetchResult = 'stored' | 'failed' | 'too-large' | 'dropped';
