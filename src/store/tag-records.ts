import type { Digest } from '../oci/digest.ts';
import type { Tag } from '../oci/reference.ts';
import type { RepositoryKey } from '../oci/repository-key.ts';

/** What a tag was last known to name. Times are milliseconds since the epoch. */
export type TagRecord = {
  readonly digest: Digest;
  /** When an upstream last confirmed it. */
  readonly checkedAt: number;
  /** When it last came to name another digest. */
  readonly changedAt: number;
  /** Whether it stays at this digest until released, whatever upstreams say. */
  readonly pinned: boolean;
  /** What an upstream says that it names now, where that is not what is served; and since when that is known. */
  readonly candidate: { readonly digest: Digest; readonly since: number } | undefined;
};

/** What became of a tag: upstream moved it, or it was set to a digest, or left to upstream again, here. */
export type TagAction = 'moved' | 'locked' | 'rolled back' | 'released';

/** One entry of a tag's history; `old` is absent where the tag was not known before. */
export type TagEvent = {
  readonly tag: Tag;
  readonly action: TagAction;
  readonly old: Digest | undefined;
  readonly new: Digest;
  /** The upstream that said so; empty for what was done here. */
  readonly upstream: string;
  readonly at: number;
};

/** What an upstream says that a tag names. */
export type TagSighting = {
  readonly digest: Digest;
  readonly upstream: string;
  readonly at: number;
  /** Whether what is served counts as confirmed by it, though it may be something else. */
  readonly confirms: boolean;
  /**
   * What was recorded of the tag when upstream was asked: one that has been confirmed, moved, pinned or released since is
   * not confirmed by it. Without it, the tag is confirmed whatever it has become.
   */
  readonly known?: TagRecord | undefined;
};

/** What tags are served as, what upstreams say of them, and what became of them. */
export interface TagRecords {
  /** What `tag` is served as. */
  get(key: RepositoryKey, tag: Tag): Promise<TagRecord | undefined>;
  /**
   * The tags known of a repository, in lexical order (ASCII).
   * @param page.after begins behind this tag, which need not be known
   * @param page.most how many tags at most; all of them unless given
   */
  names(
    key: RepositoryKey,
    page?: { readonly after?: string | undefined; readonly most?: number },
  ): Promise<readonly string[]>;
  /**
   * Records what an upstream says that a known tag names, without serving it from now on. The answer is the move,
   * when the upstream said something else before; `undefined` also when the tag is not known.
   */
  observe(key: RepositoryKey, tag: Tag, seen: TagSighting): Promise<TagEvent | undefined>;
  /**
   * Serves the tag as `digest` from now on, and records it as `action`; what is rolled back is pinned until released.
   * `false`, and nothing is changed, when the repository has no such manifest stored.
   */
  set(
    key: RepositoryKey,
    tag: Tag,
    to: { readonly digest: Digest; readonly action: 'locked' | 'rolled back'; readonly at: number },
  ): Promise<boolean>;
  /** Leaves a pinned tag to upstream again, to be asked at the next pull; `false` when it is not pinned. */
  release(key: RepositoryKey, tag: Tag, at: number): Promise<boolean>;
  /**
   * Forgets a tag; its manifest stays readable by digest.
   * @param known what the tag was when upstream was asked: one that has been confirmed, moved or pinned since stays
   * @returns whether the tag is not known any more
   */
  drop(key: RepositoryKey, tag: Tag, known?: TagRecord): Promise<boolean>;
  /** What became of the repository's tags (or of one), newest first. */
  history(key: RepositoryKey, tag: Tag | undefined): Promise<readonly TagEvent[]>;
}
