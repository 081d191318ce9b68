import { createHash } from 'node:crypto';
import { type Digest, parseDigest } from '../../oci/digest.ts';
import { isManifestMediaType, type ManifestMediaType } from '../../oci/media-types.ts';
import { isRegistryHost, parseRepositoryName, parseTag, type Tag } from '../../oci/reference.ts';
import { BundleError } from './bundle-error.ts';

/** The names of a bundle's own members; blobs and manifests are at `blobs/<algorithm>/<hex>` as in any OCI layout. */
export const memberNames = {
  layout: 'oci-layout',
  contents: 'entrepot/contents.json',
  signature: 'entrepot/contents.sig',
  index: 'index.json',
  docker: 'manifest.json',
} as const;

/** The whole content of `oci-layout` (image-spec, "Image Layout"). */
export const layoutFile: Buffer = Buffer.from('{"imageLayoutVersion":"1.0.0"}');

/** An image that a bundle brings: its name, and the manifest that the name leads to. */
export type BundleImage = {
  /** `registry/repository`. */
  readonly image: string;
  readonly tag: Tag | undefined;
  readonly digest: Digest;
  readonly mediaType: ManifestMediaType;
  /** Bytes of its manifest. */
  readonly size: number;
  /** Of an index: the platforms that come along. */
  readonly platforms: readonly string[];
  /** Whether it is there because it refers to another (a signature, an SBOM). */
  readonly referrer: boolean;
};

/** A manifest that a bundle brings or leaves out. */
export type BundleManifest = {
  readonly digest: Digest;
  readonly size: number;
  readonly mediaType: ManifestMediaType;
};

/** A blob that a bundle brings or leaves out. */
export type BundleBlob = { readonly digest: Digest; readonly size: number };

/** What a bundle holds, in the order of the archive, and what its images need that it leaves out. */
export type BundleContents = {
  readonly images: readonly BundleImage[];
  readonly manifests: readonly BundleManifest[];
  readonly blobs: readonly BundleBlob[];
  /** What the receipt of the other side says is there already; `undefined` when the bundle is whole. */
  readonly leftOut:
    | {
        readonly receipt: string;
        readonly manifests: readonly BundleManifest[];
        readonly blobs: readonly BundleBlob[];
      }
    | undefined;
  /** The sha256 of the members that are written from all this, by their names. */
  readonly files: Readonly<Record<string, string>>;
};

const format = 'entrepot-bundle';
const version = 1;

/** Bytes of a contents file: those of some hundred thousand blobs. */
export const largestContents = 64 * 1024 * 1024;

/** The sha256 of some bytes, with its name. */
export function sha256(bytes: Buffer | string): Digest {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}` as Digest;
}

/** The bytes of `entrepot/contents.json`: always the same for the same contents. They hold their own checksum. */
export function encodeContents(contents: BundleContents): Buffer {
  const images = contents.images.map(({ image, tag, digest, mediaType, size, platforms, referrer }) => ({
    image,
    ...(tag !== undefined && { tag }),
    digest,
    mediaType,
    size,
    ...(platforms.length > 0 && { platforms }),
    ...(referrer && { referrer }),
  }));
  const { leftOut } = contents;
  const document = {
    format,
    version,
    images,
    manifests: contents.manifests.map(plainManifest),
    blobs: contents.blobs.map(plainBlob),
    ...(leftOut && {
      leftOut: {
        receipt: leftOut.receipt,
        manifests: leftOut.manifests.map(plainManifest),
        blobs: leftOut.blobs.map(plainBlob),
      },
    }),
    files: contents.files,
  };
  const checksum = sha256(JSON.stringify(document));
  return Buffer.from(`${JSON.stringify({ ...document, checksum }, undefined, 1)}\n`);
}

/**
 * Reads `entrepot/contents.json`.
 * @throws BundleError `BUNDLE_CORRUPT` when it is not, byte for byte, what was written; `BUNDLE_UNSUPPORTED` for the
 *   format of a newer version
 */
export function parseContents(bytes: Buffer): BundleContents {
  const document = jsonObject(bytes);
  if (
    document['format'] === format &&
    typeof document['version'] === 'number' &&
    document['version'] > version
  ) {
    throw new BundleError(
      'BUNDLE_UNSUPPORTED',
      `the bundle has format ${document['version']}, this entrepot reads up to ${version}: import it with a newer one`,
    );
  }
  const leftOut = document['leftOut'] as Record<string, unknown> | undefined;
  const contents: BundleContents = {
    images: listOf(document['images'], parseImage),
    manifests: listOf(document['manifests'], parseManifestEntry),
    blobs: listOf(document['blobs'], parseBlob),
    leftOut:
      leftOut === undefined
        ? undefined
        : {
            receipt: textOf(leftOut['receipt']),
            manifests: listOf(leftOut['manifests'], parseManifestEntry),
            blobs: listOf(leftOut['blobs'], parseBlob),
          },
    files: Object.fromEntries(
      Object.entries(objectOf(document['files'])).map(([name, sum]) => [name, textOf(sum)]),
    ),
  };
  if (!encodeContents(contents).equals(bytes)) throw corrupt('its checksum is another');
  return contents;
}

/** `registry/repository[:tag]`, or with the digest where there is no tag. */
export function nameOfImage({ image, tag, digest }: Pick<BundleImage, 'image' | 'tag' | 'digest'>): string {
  return tag === undefined ? `${image}@${digest}` : `${image}:${tag}`;
}

/** Takes `registry/repository` apart; `undefined` when it is not of that form. */
export function splitImage(image: string) {
  const slash = image.indexOf('/');
  const registry = image.slice(0, Math.max(slash, 0));
  const repository = parseRepositoryName(image.slice(slash + 1));
  return isRegistryHost(registry) && repository !== undefined ? { registry, repository } : undefined;
}

function plainManifest({ digest, size, mediaType }: BundleManifest): BundleManifest {
  return { digest, size, mediaType };
}

function plainBlob({ digest, size }: BundleBlob): BundleBlob {
  return { digest, size };
}

function parseImage(value: Record<string, unknown>): BundleImage {
  const image = textOf(value['image']);
  if (splitImage(image) === undefined)
    throw corrupt(`${JSON.stringify(image.slice(0, 300))} is no image name`);
  const tag = value['tag'] === undefined ? undefined : parseTag(textOf(value['tag']));
  if (tag === undefined && value['tag'] !== undefined) throw corrupt('a tag is malformed');
  return {
    ...parseManifestEntry(value),
    image,
    tag,
    platforms: value['platforms'] === undefined ? [] : arrayOf(value['platforms']).map(textOf),
    referrer: value['referrer'] === true,
  };
}

function parseManifestEntry(value: Record<string, unknown>): BundleManifest {
  const mediaType = textOf(value['mediaType']);
  if (!isManifestMediaType(mediaType)) throw corrupt('a media type is not known');
  return { ...parseBlob(value), mediaType };
}

function parseBlob(value: Record<string, unknown>): BundleBlob {
  const digest = parseDigest(textOf(value['digest']));
  const { size } = value;
  if (digest === undefined) throw corrupt('a digest is malformed');
  if (typeof size !== 'number' || !Number.isSafeInteger(size) || size < 0)
    throw corrupt('a size is malformed');
  return { digest, size };
}

function jsonObject(bytes: Buffer): Record<string, unknown> {
  try {
    return objectOf(JSON.parse(bytes.toString('utf8')));
  } catch (cause) {
    throw cause instanceof BundleError ? cause : corrupt('it is not JSON', cause);
  }
}

function listOf<T>(value: unknown, parse: (entry: Record<string, unknown>) => T): readonly T[] {
  return arrayOf(value).map((entry) => parse(objectOf(entry)));
}

function arrayOf(value: unknown): readonly unknown[] {
  if (!Array.isArray(value)) throw corrupt('a list is missing');
  return value;
}

function objectOf(value: unknown): Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw corrupt('an entry is malformed');
  return value as Record<string, unknown>;
}

function textOf(value: unknown): string {
  if (typeof value !== 'string') throw corrupt('an entry is malformed');
  return value;
}

function corrupt(what: string, cause?: unknown): BundleError {
  return new BundleError(
    'BUNDLE_CORRUPT',
    `${memberNames.contents} is damaged: ${what}; copy the bundle again`,
    {
      cause,
    },
  );
}
