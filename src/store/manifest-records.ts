import type { Digest } from '../oci/digest.ts';
import type { ManifestMediaType } from '../oci/media-types.ts';
import type { Tag } from '../oci/reference.ts';
import type { RepositoryKey } from '../oci/repository-key.ts';
import type { TagEvent, TagRecord } from './tag-records.ts';

/** A manifest as it was received: the bytes that its digest is over, and the media type it was served with. */
export type StoredManifest = {
  readonly digest: Digest;
  readonly mediaType: ManifestMediaType;
  readonly bytes: Buffer;
};

/** What a digest is to the manifest that names it. */
export type LinkRole = 'manifest' | 'config' | 'layer' | 'subject';

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

/** What led to a manifest: absent when it was asked for by digest. */
export type FoundBy = {
  readonly tag: Tag | undefined;
  readonly upstream: string;
  readonly at: number;
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

/** What became of a tag that a manifest was carried in for. */
export type ImportedTag = {
  readonly key: RepositoryKey;
  readonly tag: Tag;
  /** What it was served as until then. */
  readonly before: TagRecord | undefined;
  /** Its move, when the upstream said something else about it before, or nothing yet. */
  readonly move: TagEvent | undefined;
};

/** The manifests that are stored, of all repositories, and what they name. */
export interface ManifestRecords {
  /** A manifest that the repository has a link to. */
  get(key: RepositoryKey, digest: Digest): Promise<StoredManifest | undefined>;
  /** A manifest's bytes as they are stored, for checking them. */
  bytes(digest: Digest): Promise<Buffer | undefined>;
  /** What a stored manifest names, in no particular order; nothing for one that is not stored. */
  children(digest: Digest): Promise<readonly ChildLink[]>;
  /**
   * Records a verified manifest, the repository's links to it and to its children, and the tag that led to it
   * if one did: all of it or nothing. The tag is served as the manifest from then on; a pinned tag stays where it is,
   * and the manifest is its candidate. The answer is the move, when the upstream said something else about the tag
   * before, or nothing yet.
   */
  put(
    key: RepositoryKey,
    manifest: StoredManifest,
    children: readonly ChildLink[],
    found: FoundBy,
  ): Promise<TagEvent | undefined>;
  /**
   * Records manifests that were carried in, as {@link ManifestRecords.put} does each, all of them or nothing; one
   * manifest may come several times, for several tags. The answer is what became of the tags, in the same order.
   */
  import(entries: readonly ImportedManifest[]): Promise<readonly ImportedTag[]>;
  /**
   * Forgets a manifest and what it names, and that anything was examined; tags and links that name it stay, so that
   * it is fetched again.
   */
  drop(digest: Digest): Promise<void>;
  /** Every manifest stored, of whatever repository. */
  digests(): Promise<readonly Digest[]>;
  /** When manifests were stored, in milliseconds since the epoch; those that are not are left out. */
  storedAt(digests: readonly Digest[]): Promise<ReadonlyMap<Digest, number>>;
}
