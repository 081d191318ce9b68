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

/** One pull to be remembered; `tag` when it was by tag. */
export type PullRecord = RepositoryKey & {
  readonly digest: Digest;
  readonly tag: Tag | undefined;
  readonly at: number;
};

/** The index of what is stored, and of who may read it. Every method is one whole transaction. */
export interface Metadata {
  /** What `tag` was last known to name. */
  tag(key: RepositoryKey, tag: Tag): Promise<TagRecord | undefined>;
  /** Records that an upstream confirmed the tag at `checkedAt`; no effect when the tag is not known. */
  touchTag(key: RepositoryKey, tag: Tag, checkedAt: number): Promise<void>;
  /** Forgets a tag; its manifest stays readable by digest. */
  dropTag(key: RepositoryKey, tag: Tag): Promise<void>;
  /** The tags known of a repository, in lexical order. */
  tags(key: RepositoryKey): Promise<readonly string[]>;

  /** A manifest that the repository has a link to. */
  manifest(key: RepositoryKey, digest: Digest): Promise<StoredManifest | undefined>;
  /**
   * Records a verified manifest, the repository's links to it and to its children, and the tag that led to it
   * if one did: all of it or nothing.
   */
  putManifest(
    key: RepositoryKey,
    manifest: StoredManifest,
    children: readonly ChildLink[],
    found: { readonly tag: Tag | undefined; readonly upstream: string; readonly at: number },
  ): Promise<void>;

  /** The repository's leave to read a digest; `undefined` when no manifest of it (and no upstream) vouched for it. */
  link(key: RepositoryKey, digest: Digest): Promise<Link | undefined>;
  /** Records that the repository may read a blob although no stored manifest of it names it. */
  putLink(key: RepositoryKey, digest: Digest, size: number | undefined): Promise<void>;
  /** Records that a blob is stored whole. */
  putBlob(digest: Digest, size: number, at: number): Promise<void>;

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
  /** Ends all use; idempotent. */
  close(): Promise<void>;
}
