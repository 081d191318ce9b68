import type { Digest } from '../oci/digest.ts';
import type { ManifestMediaType } from '../oci/media-types.ts';
import type { RepositoryName, Tag } from '../oci/reference.ts';

/** A repository of one registry: the key under which everything is recorded. */
export type RepositoryKey = { readonly registry: string; readonly repository: RepositoryName };

/** A manifest as it was received: the bytes that its digest is over, and the media type it was served with. */
export type StoredManifest = {
  readonly digest: Digest;
  readonly mediaType: ManifestMediaType;
  readonly bytes: Buffer;
};

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
};

/** What led to a manifest: absent when it was asked for by digest. */
export type FoundBy = {
  readonly tag: Tag | undefined;
  readonly upstream: string;
  readonly at: number;
};

/** A way on which a digest was come to. */
export type Lead = {
  /** Absent where no tag is known. */
  readonly tag: Tag | undefined;
  /** Where the way begins: what the tag was served as. */
  readonly from: Digest;
  /** Those digests on the way that were to be noted, the asked one excepted. */
  readonly noted: readonly Digest[];
};

/** What a digest is to the manifest that names it. */
export type LinkRole = 'manifest' | 'config' | 'layer' | 'subject' | 'blob';

/** One child that a manifest names; its repository may read it from then on. */
export type ChildLink = {
  readonly digest: Digest;
  readonly role: LinkRole;
  /** Bytes. */
  readonly size: number;
  readonly mediaType: string;
  /** `os/architecture[/variant]` of an index entry. */
  readonly platform: string | undefined;
};

/** A verified manifest that is carried in from elsewhere; `tag` where one is to name it from then on. */
export type ImportedManifest = {
  readonly key: RepositoryKey;
  readonly manifest: StoredManifest;
  readonly children: readonly ChildLink[];
  readonly tag: Tag | undefined;
  /** Milliseconds since the epoch; the tag counts as confirmed then. */
  readonly at: number;
};

/** A blob that is recorded as stored whole: its bytes, and when (milliseconds since the epoch). */
export type StoredBlob = { readonly digest: Digest; readonly size: number; readonly storedAt: number };

/** Leave to read a digest through a repository. */
export type Link = { readonly size: number | undefined; readonly mediaType: string | undefined };

/** A cached answer to a listing request, with the media type it is served as. */
export type StoredListing = {
  readonly body: Buffer;
  readonly mediaType: string;
  readonly checkedAt: number;
};

/** What is known of one upstream, as plain JSON that this room does not look into. */
export type UpstreamRecord = {
  readonly registry: string;
  readonly upstream: string;
  readonly snapshot: unknown;
};

/** One run of a sync entry; `report` is plain JSON that this room does not look into. Times in ms since the epoch. */
export type SyncRunRecord = {
  readonly entry: string;
  readonly startedAt: number;
  readonly endedAt: number;
  readonly report: unknown;
};

/** One pull to be remembered; `tag` when it was by tag. */
export type PullRecord = RepositoryKey & {
  readonly digest: Digest;
  readonly tag: Tag | undefined;
  readonly at: number;
};

/** The index of what is stored, and of who may read it. Every method is one whole transaction. */
export interface Metadata {
  /** What `tag` is served as. */
  tag(key: RepositoryKey, tag: Tag): Promise<TagRecord | undefined>;
  /**
   * Records what an upstream says that a known tag names, without serving it from now on. The answer is the move,
   * when the upstream said something else before; `undefined` also when the tag is not known.
   */
  observeTag(key: RepositoryKey, tag: Tag, seen: TagSighting): Promise<TagEvent | undefined>;
  /**
   * Serves the tag as `digest` from now on, and records it as `action`; pinned until released when `pin`.
   * `false`, and nothing is changed, when the repository has no such manifest stored.
   */
  setTag(
    key: RepositoryKey,
    tag: Tag,
    to: { readonly digest: Digest; readonly action: 'locked' | 'rolled back'; readonly at: number },
  ): Promise<boolean>;
  /** Leaves a pinned tag to upstream again, to be asked at the next pull; `false` when it is not pinned. */
  releaseTag(key: RepositoryKey, tag: Tag, at: number): Promise<boolean>;
  /** What became of the repository's tags (or of one), newest first. */
  tagHistory(key: RepositoryKey, tag: Tag | undefined): Promise<readonly TagEvent[]>;
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
  /** Records that an upstream lists manifests as referring to `subject`. */
  putReferrers(key: RepositoryKey, subject: Digest, referrers: readonly Digest[]): Promise<void>;
  /**
   * When everything that a repository's upstreams have below a digest was last recorded, in milliseconds since the
   * epoch; `undefined` when that is not known.
   */
  examinedAt(key: RepositoryKey, digest: Digest): Promise<number | undefined>;
  /** Records that; `false`, and nothing is, for a repository of which nothing else is recorded. */
  putExamined(key: RepositoryKey, digest: Digest, at: number): Promise<boolean>;
  /** Forgets a tag; its manifest stays readable by digest. */
  dropTag(key: RepositoryKey, tag: Tag): Promise<void>;
  /** The tags known of a repository, in lexical order. */
  tags(key: RepositoryKey): Promise<readonly string[]>;

  /** A manifest that the repository has a link to. */
  manifest(key: RepositoryKey, digest: Digest): Promise<StoredManifest | undefined>;
  /**
   * Records a verified manifest, the repository's links to it and to its children, and the tag that led to it
   * if one did, which is served as it from then on: all of it or nothing. The answer is the move, when the upstream
   * said something else about the tag before, or nothing yet.
   */
  putManifest(
    key: RepositoryKey,
    manifest: StoredManifest,
    children: readonly ChildLink[],
    found: FoundBy,
  ): Promise<TagEvent | undefined>;

  /**
   * Records manifests that were carried in, as {@link Metadata.putManifest} does each, all of them or nothing; one
   * manifest may come several times, for several tags. A pinned tag stays where it is: what it came as is kept as its
   * candidate. The answer is the moves, of tags not known before too.
   */
  importManifests(entries: readonly ImportedManifest[]): Promise<readonly TagEvent[]>;
  /** What a stored manifest names, in no particular order; nothing for one that is not stored. */
  children(digest: Digest): Promise<readonly ChildLink[]>;
  /**
   * What refers to a digest: manifests of the repository that name it as their subject, and those that an upstream
   * listed, stored or not.
   */
  referrersOf(key: RepositoryKey, subject: Digest): Promise<readonly Digest[]>;
  /** Every repository of which something is recorded, by registry and name. */
  repositories(): Promise<readonly RepositoryKey[]>;
  /** When manifests and blobs were stored, in milliseconds since the epoch; those that are not are left out. */
  storedAt(digests: readonly Digest[]): Promise<ReadonlyMap<Digest, number>>;
  /** Every manifest stored, of whatever repository. */
  manifestsStored(): Promise<readonly Digest[]>;
  /** A manifest's bytes as they are stored, for checking them. */
  manifestBytes(digest: Digest): Promise<Buffer | undefined>;
  /**
   * Forgets a manifest and what it names, and that anything was examined; tags and links that name it stay, so that
   * it is fetched again.
   */
  dropManifest(digest: Digest): Promise<void>;

  /** The repository's leave to read a digest; `undefined` when no manifest of it (and no upstream) vouched for it. */
  link(key: RepositoryKey, digest: Digest): Promise<Link | undefined>;
  /** Records that the repository may read a blob although no stored manifest of it names it. */
  putLink(key: RepositoryKey, digest: Digest, size: number | undefined): Promise<void>;
  /** Records that a blob is stored whole. */
  putBlob(digest: Digest, size: number, at: number): Promise<void>;
  /** Every blob that is recorded as stored. */
  blobsStored(): Promise<readonly StoredBlob[]>;
  /** Forgets that a blob is stored. */
  dropBlob(digest: Digest): Promise<void>;

  /** A cached listing under `name` (free text, chosen by the caller). */
  listing(key: RepositoryKey, name: string): Promise<StoredListing | undefined>;
  /** Keeps a listing, in place of an earlier one under the same name. */
  putListing(key: RepositoryKey, name: string, listing: StoredListing): Promise<void>;
  /** Forgets a listing. */
  dropListing(key: RepositoryKey, name: string): Promise<void>;

  /** Remembers when content was last pulled; repositories, tags and digests not known are passed over. */
  recordPulls(pulls: readonly PullRecord[]): Promise<void>;
  /** What was last known of the upstreams. */
  upstreamHealth(): Promise<readonly UpstreamRecord[]>;
  /** Records what is known of upstreams, in place of what was; those not named are forgotten. */
  putUpstreamHealth(records: readonly UpstreamRecord[]): Promise<void>;
  /** The runs of a sync entry that are remembered, newest first. */
  syncRuns(entry: string): Promise<readonly SyncRunRecord[]>;
  /** Remembers a run; of each entry only the last few are kept. */
  putSyncRun(run: SyncRunRecord): Promise<void>;
  /** Ends all use; idempotent. */
  close(): Promise<void>;
}
