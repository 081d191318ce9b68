import { attestedBy } from '../../oci/attestation.ts';
import type { Digest } from '../../oci/digest.ts';
import { OciError } from '../../oci/errors.ts';
import { type Descriptor, type ParsedManifest, parseManifest, platformText } from '../../oci/manifest.ts';
import { isIndexMediaType } from '../../oci/media-types.ts';
import { isPlatform } from '../../oci/platform.ts';
import type { StoredManifest } from '../../store/manifest-records.ts';

/** One manifest or blob of an image; each digest is one part, even where several platforms share it. */
export type ImagePart = {
  readonly kind: 'manifest' | 'blob';
  readonly digest: Digest;
  /** Bytes; 0 for a referrer's manifest of which only the digest is known. */
  readonly size: number;
  /** Empty for a referrer's manifest of which only the digest is known. */
  readonly mediaType: string;
  /** `os/architecture[/variant]` of the image that it belongs to: the first of several. */
  readonly platform: string | undefined;
  readonly stored: boolean;
  /** `referrer` is what belongs to a signature, an SBOM or an attestation, its blobs too. */
  readonly role: 'index' | 'image' | 'config' | 'layer' | 'referrer';
};

/** Where a walk looks things up. */
type WalkSource = {
  manifest(digest: Digest): Promise<StoredManifest | undefined>;
  /** Whether a blob is stored whole. */
  isStored(blob: Digest): Promise<boolean>;
  /** Bytes, where anything says so. */
  sizeOf(manifest: Digest): Promise<number | undefined>;
  referrers(subject: Digest): Promise<readonly Digest[]>;
};

/** What a manifest is within the image. */
type Place = {
  readonly role: 'index' | 'image' | 'referrer';
  readonly platform: string | undefined;
  readonly size: number;
  readonly mediaType: string;
  /** Indexes above it. */
  readonly depth: number;
};

/** How deep indexes may be nested. */
const mostNested = 8;

/** Parts that one image may have: far more than any has, and few enough for memory. */
const mostParts = 50_000;

/** How deep referrers of referrers are followed. */
const deepest = 3;

/** The platform under which an index lists what is no image for any machine. */
const noPlatform = 'unknown/unknown';

/** Goes through an image, from its first manifest to the last blob of what refers to it; used once. */
export class ImageWalk {
  readonly #source: WalkSource;
  readonly #platforms: readonly string[];
  readonly #parts = new Map<Digest, ImagePart>();
  #index: { readonly platforms: readonly string[] } | undefined;

  /** @param options.platforms those wanted of an index; empty: all */
  constructor(source: WalkSource, options: { platforms: readonly string[] }) {
    this.#source = source;
    this.#platforms = options.platforms;
  }

  /** What was found. */
  get parts(): readonly ImagePart[] {
    return [...this.#parts.values()];
  }

  /** What the first manifest says of platforms; `undefined` when it is no index. */
  get index(): { readonly platforms: readonly string[] } | undefined {
    return this.#index;
  }

  /** @throws OciError `MANIFEST_INVALID` for an image of more parts, or deeper, than can be meant */
  async run({ digest, mediaType, bytes }: StoredManifest): Promise<void> {
    const role = isIndexMediaType(mediaType) ? 'index' : 'image';
    await this.#manifest(digest, { role, platform: undefined, size: bytes.length, mediaType, depth: 0 });
    let subjects = this.parts.filter(({ kind }) => kind === 'manifest');
    for (let depth = 0; depth < deepest && subjects.length > 0; depth += 1) {
      const before = this.#parts.size;
      for (const subject of subjects) await this.#referrersOf(subject);
      subjects = this.parts.slice(before).filter(({ kind }) => kind === 'manifest');
    }
  }

  async #referrersOf({ digest, platform }: ImagePart): Promise<void> {
    for (const referrer of await this.#source.referrers(digest)) {
      const size = (await this.#source.sizeOf(referrer)) ?? 0;
      await this.#manifest(referrer, { role: 'referrer', platform, size, mediaType: '', depth: 0 });
    }
  }

  async #manifest(digest: Digest, place: Place): Promise<void> {
    const { role, platform, size, mediaType, depth } = place;
    if (this.#parts.has(digest)) return;
    if (depth > mostNested) {
      throw new OciError('MANIFEST_INVALID', `this image has indexes more than ${mostNested} deep`);
    }
    const manifest = await this.#source.manifest(digest);
    this.#add({
      kind: 'manifest',
      digest,
      size: manifest?.bytes.length ?? size,
      mediaType: manifest?.mediaType ?? mediaType,
      platform,
      stored: manifest !== undefined,
      role,
    });
    if (manifest === undefined) return;
    const parsed = parseManifest(manifest.bytes, manifest.mediaType);
    if (parsed.kind === 'index') await this.#entries(manifest, parsed, place);
    else await this.#blobs(parsed, role === 'referrer', platform);
  }

  async #entries(
    { bytes }: StoredManifest,
    { manifests }: Extract<ParsedManifest, { kind: 'index' }>,
    { role, platform: outer, depth }: Place,
  ): Promise<void> {
    const below = depth + 1;
    if (role === 'referrer') {
      for (const entry of manifests)
        await this.#manifest(entry.digest, placeOf(entry, 'referrer', outer, below));
      return;
    }
    const about = attestedBy(bytes);
    const images = manifests.filter(({ digest }) => !about.has(digest));
    const named = images.map(platformNamed).filter((name) => name !== undefined);
    this.#index ??= { platforms: [...new Set(named)] };
    const wanted = images.filter((entry) => this.#wants(platformNamed(entry)));
    for (const entry of wanted) {
      const kind = isIndexMediaType(entry.mediaType) ? 'index' : 'image';
      await this.#manifest(entry.digest, placeOf(entry, kind, platformNamed(entry) ?? outer, below));
    }
    for (const entry of manifests) {
      const subject = wanted.find(({ digest }) => digest === about.get(entry.digest));
      if (subject === undefined) continue;
      await this.#manifest(entry.digest, placeOf(entry, 'referrer', platformNamed(subject) ?? outer, below));
    }
  }

  async #blobs(
    { config, layers }: Extract<ParsedManifest, { kind: 'image' }>,
    refers: boolean,
    platform: string | undefined,
  ): Promise<void> {
    for (const descriptor of [config, ...layers]) {
      const { digest, size, mediaType } = descriptor;
      if (this.#parts.has(digest)) continue;
      const role = refers ? 'referrer' : descriptor === config ? 'config' : 'layer';
      const stored = await this.#source.isStored(digest);
      this.#add({ kind: 'blob', digest, size, mediaType, platform, stored, role });
    }
  }

  /** Whether an entry is of a wanted platform. One that names no platform is wanted. */
  #wants(platform: string | undefined): boolean {
    if (this.#platforms.length === 0 || platform === undefined) return true;
    return this.#platforms.some((wanted) => isPlatform(platform, wanted));
  }

  #add(part: ImagePart): void {
    if (this.#parts.size >= mostParts) {
      throw new OciError('MANIFEST_INVALID', `this image names more than ${mostParts} parts`);
    }
    this.#parts.set(part.digest, part);
  }
}

function platformNamed({ platform }: Descriptor): string | undefined {
  const text = platform && platformText(platform);
  return text === noPlatform ? undefined : text;
}

function placeOf(
  { size, mediaType }: Descriptor,
  role: Place['role'],
  platform: string | undefined,
  depth: number,
): Place {
  return { role, platform, size, mediaType, depth };
}
