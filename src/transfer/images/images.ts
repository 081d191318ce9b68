import type { Digest } from '../../oci/digest.ts';
import type { ImageName } from '../../oci/image-name.ts';
import { platformText } from '../../oci/manifest.ts';
import { isPlatform } from '../../oci/platform.ts';
import { derivedTags, isDerivedTag, parseTag, type Reference, type Tag } from '../../oci/reference.ts';
import { imageText } from '../../oci/repository-key.ts';
import type { Namespaces } from '../../pull/namespaces.ts';
import { imageName, keyOf, type ResolvedRepository } from '../../pull/repository.ts';
import type { Metadata } from '../../store/metadata.ts';
import type { Lease, StoredBlobs } from '../../store/stored-blobs.ts';
import type { ImagePart } from './walk.ts';
import { ImageWalk } from './walk.ts';

/** One image of a known registry. */
export type ImageTarget = { readonly target: ResolvedRepository; readonly reference: Reference };

/** What is stored of an image. */
export type ImageState = {
  /** `registry/repository`. */
  readonly image: string;
  readonly tag: Tag | undefined;
  readonly digest: Digest;
  readonly mediaType: string;
  /** A manifest stands before what it names; referrers come last. */
  readonly parts: readonly ImagePart[];
  /** Those of the index, or the one of an image whose config is stored. */
  readonly platforms: readonly string[];
  /** Platforms that were asked for and that the image does not have. */
  readonly lacking: readonly string[];
  /** Whether it can be pulled without any upstream: every part but referrers is stored, and nothing is lacking. */
  readonly whole: boolean;
  /** When the last of what is stored came, in milliseconds since the epoch. */
  readonly storedAt: number | undefined;
};

/** Largest config that is looked into for its platform, in bytes. */
const largestConfig = 4 * 1024 * 1024;

/** What is stored, image by image; no upstream is asked. */
export class Images {
  readonly #deps: {
    metadata: Pick<Metadata, 'blobs' | 'links' | 'manifests' | 'tags'>;
    blobs: StoredBlobs;
    namespaces: Namespaces;
  };

  constructor(deps: {
    metadata: Pick<Metadata, 'blobs' | 'links' | 'manifests' | 'tags'>;
    blobs: StoredBlobs;
    namespaces: Namespaces;
  }) {
    this.#deps = deps;
  }

  /**
   * The image that a name means.
   * @throws OciError `NAME_UNKNOWN` for a registry that is not configured
   */
  find(name: ImageName): ImageTarget {
    return { target: this.#deps.namespaces.named(name), reference: referenceOf(name) };
  }

  /**
   * What is stored of an image; `undefined` when not even its first manifest is. Referrers that are known (by their
   * subject, listed by an upstream, or by a tag derived from the digest) are among its parts.
   * @param platforms `os/architecture[/variant]`, without a variant any; empty: all
   * @param lease holds what is found, so that what the answer calls stored stays so
   */
  async state(
    image: ImageTarget,
    platforms: readonly string[],
    lease?: Lease,
  ): Promise<ImageState | undefined> {
    const { metadata } = this.#deps;
    const { target, reference } = image;
    const key = keyOf(target);
    const digest =
      reference.kind === 'digest' ? reference.digest : (await metadata.tags.get(key, reference.tag))?.digest;
    if (digest === undefined) return undefined;
    const first = await metadata.manifests.get(key, digest);
    if (first === undefined) return undefined;
    const walk = new ImageWalk(
      {
        manifest: (each) => metadata.manifests.get(key, each),
        isStored: async (each) => {
          lease?.hold(each);
          return (await this.#deps.blobs.present(each)) !== undefined;
        },
        sizeOf: async (each) => (await metadata.links.get(key, each))?.size,
        referrers: (subject) => this.#referrers(target, subject),
      },
      { platforms },
    );
    await walk.run(first);
    const { parts, index } = walk;
    const own = index ? undefined : await this.#platformOfConfig(parts);
    const has = index?.platforms ?? (own === undefined ? [] : [own]);
    // An image that names no platform cannot lack one.
    const lacking =
      has.length === 0 ? [] : platforms.filter((wanted) => !has.some((each) => isPlatform(each, wanted)));
    const needed = parts.filter(({ role }) => role !== 'referrer');
    const here = parts.filter(({ stored }) => stored).map((part) => part.digest);
    const times = [await metadata.manifests.storedAt(here), await metadata.blobs.storedAt(here)].flatMap(
      (each) => [...each.values()],
    );
    return {
      image: imageName(target),
      tag: reference.kind === 'tag' ? reference.tag : undefined,
      digest,
      mediaType: first.mediaType,
      parts,
      platforms: has,
      lacking,
      whole: lacking.length === 0 && needed.every(({ stored }) => stored),
      storedAt: times.length === 0 ? undefined : Math.max(...times),
    };
  }

  /** The images with tags in the storage, of the registries that are configured; signatures are none. */
  async *all(): AsyncGenerator<ImageTarget, void, undefined> {
    const { metadata, namespaces } = this.#deps;
    const registries = new Map(namespaces.all().map((registry) => [registry.name, registry]));
    for (const key of await metadata.links.repositories()) {
      const registry = registries.get(key.registry);
      if (registry === undefined) continue;
      for (const text of await metadata.tags.names(key)) {
        const tag = parseTag(text);
        if (tag === undefined || isDerivedTag(tag)) continue;
        yield { target: { registry, repository: key.repository }, reference: { kind: 'tag', tag } };
      }
    }
  }

  async #referrers(target: ResolvedRepository, subject: Digest): Promise<readonly Digest[]> {
    const { metadata } = this.#deps;
    const key = keyOf(target);
    const digests = [...(await metadata.links.referrersOf(key, subject))];
    for (const tag of derivedTags(subject)) {
      const record = await metadata.tags.get(key, tag);
      if (record !== undefined) digests.push(record.digest);
    }
    return digests;
  }

  async #platformOfConfig(parts: readonly ImagePart[]): Promise<string | undefined> {
    const config = parts.find(({ role }) => role === 'config');
    if (config === undefined || !config.stored) return undefined;
    const file = await this.#deps.blobs.open(config.digest);
    if (file === undefined) return undefined;
    try {
      if (file.size > largestConfig) return undefined;
      const buffer = Buffer.alloc(file.size);
      let filled = 0;
      while (filled < buffer.length) {
        const bytes = await file.read(buffer.subarray(filled), buffer.length - filled, filled);
        if (bytes === 0) return undefined;
        filled += bytes;
      }
      return platformOf(buffer);
    } finally {
      await file.close();
    }
  }
}

/** What a name refers to: its digest, else its tag, else the tag `latest`. */
export function referenceOf({ tag, digest }: Pick<ImageName, 'tag' | 'digest'>): Reference {
  if (digest !== undefined) return { kind: 'digest', digest };
  return { kind: 'tag', tag: tag ?? ('latest' as Tag) };
}

/** `registry/repository:tag` or `registry/repository@digest`. */
export function imageTitle({ target, reference }: ImageTarget): string {
  return imageText(keyOf(target), reference);
}

function platformOf(config: Buffer): string | undefined {
  try {
    const { os, architecture, variant } = JSON.parse(config.toString()) as Record<string, unknown>;
    if (typeof os !== 'string' || typeof architecture !== 'string') return undefined;
    return platformText({ os, architecture, variant: typeof variant === 'string' ? variant : undefined });
  } catch {
    return undefined;
  }
}
