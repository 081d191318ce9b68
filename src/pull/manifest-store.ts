import { createHash } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import { type Digest, digestAlgorithm } from '../oci/digest.ts';
import { IntegrityError } from '../oci/errors.ts';
import { type Descriptor, type Platform, parseManifest } from '../oci/manifest.ts';
import type { Tag } from '../oci/reference.ts';
import type { ChildLink, Metadata, RepositoryKey, StoredManifest, TagRecord } from '../store/metadata.ts';

/** Memory for hot manifests, in bytes of their bodies. */
const hotBytes = 32 * 1024 * 1024;

/** Manifests and tags: what is hot from memory, the rest from the index; what comes in is verified first. */
export class ManifestStore {
  readonly #metadata: Metadata;
  readonly #manifests = new LRUCache<string, StoredManifest>({
    maxSize: hotBytes,
    sizeCalculation: ({ bytes }) => bytes.length + 512,
  });
  readonly #tags = new LRUCache<string, TagRecord>({ max: 20_000 });

  constructor(deps: { metadata: Metadata }) {
    this.#metadata = deps.metadata;
  }

  /** A manifest from memory; `undefined` says nothing about the index. */
  hotManifest(key: RepositoryKey, digest: Digest): StoredManifest | undefined {
    return this.#manifests.get(nameOf(key, digest));
  }

  /** A tag from memory; `undefined` says nothing about the index. */
  hotTag(key: RepositoryKey, tag: Tag): TagRecord | undefined {
    return this.#tags.get(nameOf(key, tag));
  }

  /** A manifest that the repository may read. */
  async manifest(key: RepositoryKey, digest: Digest): Promise<StoredManifest | undefined> {
    const hot = this.hotManifest(key, digest);
    if (hot !== undefined) return hot;
    const stored = await this.#metadata.manifest(key, digest);
    if (stored !== undefined) this.#manifests.set(nameOf(key, digest), stored);
    return stored;
  }

  /** What the tag was last known to name. */
  async tag(key: RepositoryKey, tag: Tag): Promise<TagRecord | undefined> {
    const hot = this.hotTag(key, tag);
    if (hot !== undefined) return hot;
    const stored = await this.#metadata.tag(key, tag);
    if (stored !== undefined) this.#tags.set(nameOf(key, tag), stored);
    return stored;
  }

  /**
   * Verifies a manifest as an upstream sent it, and records it with its links, and its tag when one led to it.
   * @throws IntegrityError when a digest was asked for and the bytes have another
   * @throws OciError as `parseManifest` does; nothing is kept
   */
  async admit(
    key: RepositoryKey,
    received: { bytes: Buffer; mediaType: string; digestHint: Digest | undefined },
    asked: { digest: Digest | undefined; tag: Tag | undefined; upstream: string; at: number },
  ): Promise<StoredManifest> {
    const { bytes, mediaType, digestHint } = received;
    const digest = digestOf(bytes, asked.digest ?? digestHint);
    if (asked.digest !== undefined && digest !== asked.digest) throw new IntegrityError(asked.digest, digest);
    const parsed = parseManifest(bytes, mediaType);
    const manifest: StoredManifest = { digest, mediaType: parsed.mediaType, bytes };
    const children: ChildLink[] =
      parsed.kind === 'index'
        ? parsed.manifests.map((child) => link('manifest', child))
        : [link('config', parsed.config), ...parsed.layers.map((child) => link('layer', child))];
    if (parsed.subject !== undefined) children.push(link('subject', parsed.subject));
    await this.#metadata.putManifest(key, manifest, children, asked);
    this.#manifests.set(nameOf(key, digest), manifest);
    if (asked.tag !== undefined) this.#tags.delete(nameOf(key, asked.tag));
    return manifest;
  }

  /** Records that an upstream confirmed the tag. */
  async touchTag(key: RepositoryKey, tag: Tag, at: number): Promise<void> {
    await this.#metadata.touchTag(key, tag, at);
    this.#tags.delete(nameOf(key, tag));
  }

  /** Forgets the tag, not what it named. */
  async dropTag(key: RepositoryKey, tag: Tag): Promise<void> {
    await this.#metadata.dropTag(key, tag);
    this.#tags.delete(nameOf(key, tag));
  }
}

function nameOf({ registry, repository }: RepositoryKey, reference: string): string {
  return `${registry}/${repository} ${reference}`;
}

/** The digest of `bytes`, in the algorithm of `like` (sha256 when there is no example). */
function digestOf(bytes: Buffer, like: Digest | undefined): Digest {
  const algorithm = like === undefined ? 'sha256' : digestAlgorithm(like);
  return `${algorithm}:${createHash(algorithm).update(bytes).digest('hex')}` as Digest;
}

function link(role: ChildLink['role'], { digest, size, mediaType, platform }: Descriptor): ChildLink {
  return { role, digest, size, mediaType, platform: platform && platformText(platform) };
}

function platformText({ os, architecture, variant }: Platform): string {
  return variant === undefined ? `${os}/${architecture}` : `${os}/${architecture}/${variant}`;
}
