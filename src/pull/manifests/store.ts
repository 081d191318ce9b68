import { createHash } from 'node:crypto';
import type { Tell } from '../../lib/facts.ts';
import { type Digest, type DigestAlgorithm, digestAlgorithm, digestAlgorithms } from '../../oci/digest.ts';
import { IntegrityError } from '../../oci/errors.ts';
import { type Descriptor, parseManifest, platformText } from '../../oci/manifest.ts';
import type { Tag } from '../../oci/reference.ts';
import { type RepositoryKey, repositoryText } from '../../oci/repository-key.ts';
import type {
  ChildLink,
  FoundBy,
  ImportedManifest,
  ImportedTag,
  StoredManifest,
} from '../../store/manifest-records.ts';
import type { Metadata } from '../../store/metadata.ts';
import type { TagRecord, TagSighting } from '../../store/tag-records.ts';
import { Memory } from '../memory.ts';
import type { PullFact } from '../pull-facts.ts';
import { tagLeadingTo } from '../ways.ts';

/** Memory for hot manifests, in bytes of their bodies. */
const hotBytes = 32 * 1024 * 1024;

/** Manifests and tags: what is hot from memory, the rest from the index; what comes in is verified first. */
export class ManifestStore {
  readonly #metadata: Pick<Metadata, 'links' | 'manifests' | 'tags'>;
  readonly #manifests = new Memory<StoredManifest>({
    maxSize: hotBytes,
    sizeOf: ({ bytes }) => bytes.length + 512,
  });
  readonly #tags = new Memory<TagRecord>({ max: 20_000 });
  readonly #facts: Tell<PullFact>;

  /**
   * @param deps.facts is told of each tag that upstream moved, and of repositories in which other digests are led to
   */
  constructor(deps: { metadata: Pick<Metadata, 'links' | 'manifests' | 'tags'>; facts: Tell<PullFact> }) {
    this.#metadata = deps.metadata;
    this.#facts = deps.facts;
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
    return this.#manifests.read(nameOf(key, digest), () => this.#metadata.manifests.get(key, digest));
  }

  /** What the tag was last known to name. */
  async tag(key: RepositoryKey, tag: Tag): Promise<TagRecord | undefined> {
    return this.#tags.read(nameOf(key, tag), () => this.#metadata.tags.get(key, tag));
  }

  /** A tag that is known to lead to a digest. */
  tagLeadingTo(key: RepositoryKey, digest: Digest): Promise<Tag | undefined> {
    return tagLeadingTo(this.#metadata.links, key, digest);
  }

  /**
   * Verifies a manifest as an upstream sent it, and records it with its links, and its tag when one led to it.
   * @param asked.refused digests that rules deny: a manifest that has one of them is recorded by that, whatever it was
   *   called upstream
   * @throws IntegrityError when a digest was asked for and the bytes have another
   * @throws OciError as `parseManifest` does; nothing is kept
   */
  async admit(
    key: RepositoryKey,
    received: { bytes: Buffer; mediaType: string; digestHint: Digest | undefined },
    asked: FoundBy & { readonly digest: Digest | undefined; readonly refused?: readonly Digest[] },
  ): Promise<StoredManifest> {
    const { bytes, mediaType, digestHint } = received;
    const found = digestOf(bytes, asked.digest ?? digestHint);
    if (asked.digest !== undefined && found !== asked.digest) throw new IntegrityError(asked.digest, found);
    const digest = refusedName(asked.refused ?? [], bytes) ?? found;
    const parsed = parseManifest(bytes, mediaType);
    const manifest: StoredManifest = { digest, mediaType: parsed.mediaType, bytes };
    const children: ChildLink[] =
      parsed.kind === 'index'
        ? parsed.manifests.map((child) => link('manifest', child))
        : [link('config', parsed.config), ...parsed.layers.map((child) => link('layer', child))];
    if (parsed.subject !== undefined) children.push(link('subject', parsed.subject));
    const put = () =>
      this.#manifests.write(nameOf(key, digest), manifest, () =>
        this.#metadata.manifests.put(key, manifest, children, asked),
      );
    const move = await (asked.tag === undefined ? put() : this.#tags.change(nameOf(key, asked.tag), put));
    this.#facts.tell({ kind: 'provenance-changed', key, tags: asked.tag !== undefined, manifest: true });
    if (move?.old !== undefined) this.#facts.tell({ kind: 'tag-moved', key, move });
    return manifest;
  }

  /** Records what an upstream says that a tag names. */
  async observeTag(key: RepositoryKey, tag: Tag, seen: TagSighting): Promise<void> {
    const move = await this.#tags.change(nameOf(key, tag), () => this.#metadata.tags.observe(key, tag, seen));
    if (move !== undefined) this.#facts.tell({ kind: 'tag-moved', key, move });
  }

  /** Serves the tag as a stored manifest from now on; `false` when the repository has none of that digest. */
  async setTag(
    key: RepositoryKey,
    tag: Tag,
    to: { readonly digest: Digest; readonly action: 'locked' | 'rolled back'; readonly at: number },
  ): Promise<boolean> {
    const done = await this.#tags.change(nameOf(key, tag), () => this.#metadata.tags.set(key, tag, to));
    this.#facts.tell({ kind: 'provenance-changed', key, tags: true, manifest: false });
    return done;
  }

  /** Leaves a pinned tag to upstream again; `false` when it is not pinned. */
  async releaseTag(key: RepositoryKey, tag: Tag, at: number): Promise<boolean> {
    return this.#tags.change(nameOf(key, tag), () => this.#metadata.tags.release(key, tag, at));
  }

  /** Forgets a manifest that memory holds, whoever may read it: it is no longer stored. */
  forget(digest: Digest): void {
    this.#manifests.forgetEnding(` ${digest}`);
  }

  /** Makes what an archive brought visible, all of it or none: see `ManifestRecords.import`. */
  async import(entries: readonly ImportedManifest[]): Promise<readonly ImportedTag[]> {
    const imported = await this.#metadata.manifests.import(entries);
    for (const { key, tag } of entries) {
      if (tag !== undefined) this.#tags.forget(nameOf(key, tag));
      this.#facts.tell({ kind: 'provenance-changed', key, tags: tag !== undefined, manifest: true });
    }
    return imported;
  }

  /** Forgets the tag, not what it named; a tag that has come to be something else than `known` stays. */
  async dropTag(key: RepositoryKey, tag: Tag, known: TagRecord): Promise<void> {
    await this.#tags.change(nameOf(key, tag), () => this.#metadata.tags.drop(key, tag, known));
    this.#facts.tell({ kind: 'provenance-changed', key, tags: true, manifest: false });
  }
}

function nameOf(key: RepositoryKey, reference: string): string {
  return `${repositoryText(key)} ${reference}`;
}

function refusedName(refused: readonly Digest[], bytes: Buffer): Digest | undefined {
  if (refused.length === 0) return undefined;
  const names = digestAlgorithms.map((algorithm) => hashOf(bytes, algorithm));
  return refused.find((digest) => names.includes(digest));
}

/** The digest of `bytes`, in the algorithm of `like` (sha256 when there is no example). */
function digestOf(bytes: Buffer, like: Digest | undefined): Digest {
  return hashOf(bytes, like === undefined ? 'sha256' : digestAlgorithm(like));
}

function hashOf(bytes: Buffer, algorithm: DigestAlgorithm): Digest {
  return `${algorithm}:${createHash(algorithm).update(bytes).digest('hex')}` as Digest;
}

function link(role: ChildLink['role'], { digest, size, mediaType, platform }: Descriptor): ChildLink {
  return { role, digest, size, mediaType, platform: platform && platformText(platform) };
}
