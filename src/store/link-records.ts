import type { Digest } from '../oci/digest.ts';
import type { Tag } from '../oci/reference.ts';
import type { RepositoryKey } from '../oci/repository-key.ts';

/** Leave to read a digest through a repository. */
export type Link = { readonly size: number | undefined; readonly mediaType: string | undefined };

/** How far the page of a step came; where it ended is the implementation's affair. */
export type StepEnd = { readonly tag: string; readonly parent: string; readonly subject: string };

/** A digest to step up from, and the end of the page after which to go on. */
export type StepFrom = { readonly digest: Digest; readonly after?: StepEnd | undefined };

/** One page of what is directly above a digest in a repository. Pages do not overlap. */
export type StepUp = {
  /** The tags that are served as it. */
  readonly tags: readonly Tag[];
  /**
   * The manifests of the repository that name it otherwise than as their subject, its own subject, and what an upstream
   * lists it as referring to.
   */
  readonly above: readonly Digest[];
  /** Absent on the last page. */
  readonly next: StepEnd | undefined;
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
   * What is directly above each of some digests in a repository, in their order: a page of each, so that one question
   * takes a moment however much there is.
   * @param options.current leaves out what tags were served as in the past
   */
  stepsUp(
    key: RepositoryKey,
    from: readonly StepFrom[],
    options: { readonly current: boolean },
  ): Promise<readonly StepUp[]>;
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
