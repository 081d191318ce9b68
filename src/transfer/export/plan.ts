import type { Digest } from '../../oci/digest.ts';
import { isIndexMediaType, isManifestMediaType, type ManifestMediaType } from '../../oci/media-types.ts';
import { derivedTags, type Tag } from '../../oci/reference.ts';
import type { RepositoryKey } from '../../oci/repository-key.ts';
import { keyOf } from '../../pull/repository.ts';
import type { Metadata } from '../../store/metadata.ts';
import {
  type BundleBlob,
  type BundleContents,
  type BundleImage,
  type BundleManifest,
  encodeContents,
  layoutFile,
  memberNames,
  nameOfImage,
  sha256,
} from '../bundle/bundle-contents.ts';
import {
  blobFolder,
  blobName,
  type ChosenImage,
  compare,
  dockerFile,
  indexFile,
} from '../bundle/layout-files.ts';
import type { Receipt } from '../bundle/receipt.ts';
import { type TarMember, tarEnd, tarMemberSize } from '../bundle/tar-write.ts';
import type { ImagePart } from '../images/walk.ts';

/** One member of a bundle: its bytes, or where they are. */
export type PlannedMember = TarMember & {
  readonly content:
    | { readonly kind: 'bytes'; readonly bytes: Buffer }
    | { readonly kind: 'manifest'; readonly digest: Digest; readonly key: RepositoryKey }
    | { readonly kind: 'blob'; readonly digest: Digest };
};

/** A bundle that can be written. */
export type BundlePlan = {
  readonly contents: BundleContents;
  readonly members: readonly PlannedMember[];
  /** Bytes of the archive. */
  readonly size: number;
};

/**
 * Lays a bundle out. The same images make the same plan, whatever order they are given in: members are sorted, first
 * what describes the others, then manifests, then blobs.
 * @param since what the other side has is left out
 */
export async function planBundle(
  metadata: Pick<Metadata, 'manifests' | 'tags'>,
  chosen: readonly ChosenImage[],
  since: Receipt | undefined,
): Promise<BundlePlan> {
  const collected = new Collection(metadata);
  for (const image of chosen) await collected.add(image);
  const there = new Set<Digest>([...(since?.manifests ?? []), ...(since?.blobs ?? [])]);
  const [manifests, manifestsThere] = parted(collected.manifests, there);
  const [blobs, blobsThere] = parted(collected.blobs, there);
  const images = collected.images;
  const index = indexFile(images);
  const docker = since === undefined ? await dockerFile(metadata, chosen) : undefined;
  const contents: BundleContents = {
    images,
    manifests,
    blobs,
    leftOut: since && { receipt: since.id, manifests: manifestsThere, blobs: blobsThere },
    files: {
      [memberNames.index]: sha256(index),
      ...(docker && { [memberNames.docker]: sha256(docker) }),
    },
  };
  const folders = [...new Set([...manifests, ...blobs].map(({ digest }) => `${blobFolder(digest)}/`))].sort();
  const members: PlannedMember[] = [
    fileMember(memberNames.layout, layoutFile),
    fileMember(memberNames.contents, encodeContents(contents)),
    fileMember(memberNames.index, index),
    ...(docker === undefined ? [] : [fileMember(memberNames.docker, docker)]),
    ...['blobs/', ...folders].map((name) => ({ ...fileMember(name, Buffer.alloc(0)) })),
    ...manifests.map(({ digest, size }): PlannedMember => {
      return {
        name: blobName(digest),
        size,
        content: { kind: 'manifest', digest, key: collected.keyOf(digest) },
      };
    }),
    ...blobs.map(({ digest, size }): PlannedMember => {
      return { name: blobName(digest), size, content: { kind: 'blob', digest } };
    }),
  ];
  const size = members.reduce((sum, member) => sum + tarMemberSize(member), tarEnd.length);
  return { contents, members, size };
}

/** The manifests and blobs of several images, each once. */
class Collection {
  readonly #metadata: Pick<Metadata, 'manifests' | 'tags'>;
  readonly #images = new Map<string, BundleImage>();
  readonly #manifests = new Map<Digest, BundleManifest>();
  readonly #blobs = new Map<Digest, BundleBlob>();
  readonly #keys = new Map<Digest, RepositoryKey>();

  constructor(metadata: Pick<Metadata, 'manifests' | 'tags'>) {
    this.#metadata = metadata;
  }

  get images(): readonly BundleImage[] {
    return [...this.#images.entries()]
      .sort(([one], [other]) => compare(one, other))
      .map(([, image]) => image);
  }

  get manifests(): readonly BundleManifest[] {
    return [...this.#manifests.values()].sort(byDigest);
  }

  get blobs(): readonly BundleBlob[] {
    return [...this.#blobs.values()].sort(byDigest);
  }

  /** A repository that may read the manifest. */
  keyOf(manifest: Digest): RepositoryKey {
    const key = this.#keys.get(manifest);
    if (key === undefined) throw new Error(`${manifest} was not collected`);
    return key;
  }

  async add({ image: { target }, state, platforms }: ChosenImage): Promise<void> {
    const key = keyOf(target);
    const parts = await this.#carried(state.parts);
    for (const part of parts) {
      if (part.kind === 'blob') this.#blobs.set(part.digest, { digest: part.digest, size: part.size });
      else this.#addManifest(part, key);
    }
    const root = parts.find(({ digest }) => digest === state.digest);
    if (root !== undefined) {
      const index = isIndexMediaType(state.mediaType);
      this.#addImage(state.image, root, {
        tag: state.tag,
        platforms: index ? platforms : [],
        referrer: false,
      });
    }
    const tags = await this.#derivedTags(key, parts);
    for (const part of parts) {
      if (part.kind === 'blob' || part.role !== 'referrer') continue;
      const tag = tags.get(part.digest);
      this.#addImage(state.image, part, { tag, platforms: [], referrer: true });
    }
  }

  #addManifest(part: ImagePart, key: RepositoryKey): void {
    const { digest, size } = part;
    this.#manifests.set(digest, { digest, size, mediaType: manifestType(part) });
    this.#keys.set(digest, key);
  }

  #addImage(
    image: string,
    part: ImagePart,
    rest: { tag: Tag | undefined; platforms: readonly string[]; referrer: boolean },
  ): void {
    const { digest, size } = part;
    const entry: BundleImage = { image, digest, size, mediaType: manifestType(part), ...rest };
    const name = nameOfImage(entry);
    const platforms = [...new Set([...(this.#images.get(name)?.platforms ?? []), ...rest.platforms])].sort();
    this.#images.set(name, { ...entry, platforms });
  }

  /** The parts without those referrers that are not stored whole, which an image can do without. */
  async #carried(parts: readonly ImagePart[]): Promise<readonly ImagePart[]> {
    const stored = new Set(parts.filter((part) => part.stored).map(({ digest }) => digest));
    const kept = new Set<Digest>();
    for (const part of parts) {
      if (part.role !== 'referrer') kept.add(part.digest);
      else if (part.kind === 'manifest' && part.stored) {
        const children = await this.#metadata.manifests.children(part.digest);
        const blobs = children.filter(({ role }) => role === 'config' || role === 'layer');
        if (!blobs.every(({ digest }) => stored.has(digest))) continue;
        for (const { digest } of [part, ...blobs]) kept.add(digest);
      }
    }
    return parts.filter(({ digest }) => kept.has(digest));
  }

  async #derivedTags(key: RepositoryKey, parts: readonly ImagePart[]): Promise<ReadonlyMap<Digest, Tag>> {
    const found = new Map<Digest, Tag>();
    if (!parts.some(({ role }) => role === 'referrer')) return found;
    for (const { kind, digest } of parts) {
      if (kind === 'blob') continue;
      for (const tag of derivedTags(digest)) {
        const record = await this.#metadata.tags.get(key, tag);
        if (record !== undefined) found.set(record.digest, tag);
      }
    }
    return found;
  }
}

function parted<T extends { readonly digest: Digest }>(
  all: readonly T[],
  there: ReadonlySet<Digest>,
): [carried: readonly T[], leftOut: readonly T[]] {
  return [all.filter(({ digest }) => !there.has(digest)), all.filter(({ digest }) => there.has(digest))];
}

function fileMember(name: string, bytes: Buffer): PlannedMember {
  return { name, size: bytes.length, content: { kind: 'bytes', bytes } };
}

function manifestType({ digest, mediaType }: ImagePart): ManifestMediaType {
  if (isManifestMediaType(mediaType)) return mediaType;
  throw new Error(`${digest} is stored as ${mediaType}, which is no manifest`);
}

function byDigest(one: { readonly digest: Digest }, other: { readonly digest: Digest }): number {
  return compare(one.digest, other.digest);
}
