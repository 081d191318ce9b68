import type { Digest } from '../oci/digest.ts';
import type { Tag } from '../oci/reference.ts';
import type { RepositoryKey } from '../oci/repository-key.ts';

/** Leave to read a digest through a repository. */
export type Link = { readonly size: number | undefined; readonly mediaType: string | undefined };

/** A way on which a digest was come to. */
export type Lead = {
  /** Absent where no tag is known. */
  readonly tag: Tag | undefined;
  /** Where the way begins: what the tag was served as. */
  readonly from: Digest;
  /** Those digests on the way that were to be noted, the asked one excepted. */
  readonly noted: readonly Digest[];
};

/** What each repository may read, and what led to it there. */
export interface LinkRecords {
  /** The repository's leave to read a digest; `undefined` when no manifest of it (and no upstream) vouched for it. */
  get(key: RepositoryKey, digest: Digest): Promise<Link | undefined>;
  /** Records that the repository may read a blob although no stored manifest of it names it. */
  put(key: RepositoryKey, digest: Digest, size: number | undefined): Promise<void>;
  /** Every repository of which something is recorded, by registry and name. */
  repositories(): Promise<readonly RepositoryKey[]>;
  /**
   * What leads to a digest: the tags served as it, as a manifest that names it (an index over its images, an image
   * over its blobs), or as what it refers to, each with what it was served as; and what of these nothing is known to
   * lead to.
   * @param options.current leaves out what tags were served as in the past
   * @param options.noted digests that are noted where they lie on the way
   */
  leadsTo(
    key: RepositoryKey,
    digest: Digest,
    options: { readonly current: boolean; readonly noted?: readonly string[] },
  ): Promise<readonly Lead[]>;
  /**
   * What refers to a digest: manifests of the repository that name it as their subject, and those that an upstream
   * listed, stored or not.
   */
  referrersOf(key: RepositoryKey, subject: Digest): Promise<readonly Digest[]>;
  /** Records that an upstream lists manifests as referring to `subject`. */
  putReferrers(key: RepositoryKey, subject: Digest, referrers: readonly Digest[]): Promise<void>;
  /**
   * When everything that a repository's upstreams have below a digest was last recorded, in milliseconds since the
   * epoch; `undefined` when that is not known.
   */
  examinedAt(key: RepositoryKey, digest: Digest): Promise<number | undefined>;
  /** Records that; `false`, and nothing is, for a repository of which nothing else is recorded. */
  putExamined(key: RepositoryKey, digest: Digest, at: number): Promise<boolean>;
}
