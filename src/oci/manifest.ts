import { type Digest, parseDigest } from './digest.ts';
import { OciError } from './errors.ts';
import {
  isIndexMediaType,
  isManifestMediaType,
  isSchema1MediaType,
  type ManifestMediaType,
} from './media-types.ts';

/** The platform of an index entry (image-spec, "Image Index"). */
export type Platform = {
  readonly os: string;
  readonly architecture: string;
  readonly variant: string | undefined;
};

/** What a manifest says of one child (image-spec, "Content Descriptors"). `urls` are dropped: they are never fetched. */
export type Descriptor = {
  readonly mediaType: string;
  readonly digest: Digest;
  /** Bytes. */
  readonly size: number;
  readonly platform: Platform | undefined;
};

/** The parsed view of a manifest; the original bytes stay what is stored and served, since the digest is over them. */
export type ParsedManifest =
  | {
      readonly kind: 'image';
      readonly mediaType: ManifestMediaType;
      readonly config: Descriptor;
      readonly layers: readonly Descriptor[];
      readonly subject: Descriptor | undefined;
    }
  | {
      readonly kind: 'index';
      readonly mediaType: ManifestMediaType;
      readonly manifests: readonly Descriptor[];
      readonly subject: Descriptor | undefined;
    };

/** More children than any real image has; a document with more is refused rather than indexed. */
const mostChildren = 2000;

/**
 * Parses a manifest or index against the media type it was served with.
 * @param mediaType bare, lower case (see `bareMediaType`)
 * @throws OciError `MANIFEST_INVALID` when it is not JSON, of no known type, ambiguous between manifest and index
 *   (CVE-2021-41190), of another `mediaType` than declared, or holds a malformed descriptor; `UNSUPPORTED` for schema 1
 */
export function parseManifest(bytes: Uint8Array, mediaType: string): ParsedManifest {
  if (isSchema1MediaType(mediaType)) {
    throw new OciError(
      'UNSUPPORTED',
      'this image is published only as Docker schema 1, which cannot be verified; ask its publisher for a schema 2 or OCI image',
    );
  }
  if (!isManifestMediaType(mediaType)) {
    throw invalid(`media type "${mediaType}" is not an image manifest or index`);
  }
  const document = parseObject(bytes);
  refuseLookAlikes(document);
  if (document['schemaVersion'] !== 2) throw invalid('schemaVersion is not 2');
  const own = document['mediaType'];
  if (own !== undefined && own !== mediaType) {
    const named = typeof own === 'string' ? JSON.stringify(own) : 'something that is no text';
    throw invalid(`it was served as "${mediaType}" but calls itself ${named}`);
  }
  if ('manifests' in document && ('layers' in document || 'config' in document)) {
    throw invalid('it holds both "manifests" and "layers" or "config", so it could be read as either');
  }
  const subject = document['subject'] === undefined ? undefined : descriptor(document['subject'], 'subject');
  if (isIndexMediaType(mediaType)) {
    return { kind: 'index', mediaType, manifests: descriptors(document['manifests'], 'manifests'), subject };
  }
  return {
    kind: 'image',
    mediaType,
    config: descriptor(document['config'], 'config'),
    layers: descriptors(document['layers'], 'layers'),
    subject,
  };
}

function parseObject(bytes: Uint8Array): Readonly<Record<string, unknown>> {
  let document: unknown;
  try {
    document = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (cause) {
    throw new OciError('MANIFEST_INVALID', 'manifest invalid: it is not JSON', { cause });
  }
  if (!isObject(document)) throw invalid('it is not a JSON object');
  return document;
}

const decisive = ['schemaVersion', 'mediaType', 'manifests', 'layers', 'config', 'subject'];

/**
 * Clients written in Go match keys whatever their case: for them `Layers` is `layers`, and so is one with the long s
 * (U+017F), whose upper case is an ordinary S.
 */
function refuseLookAlikes(document: Readonly<Record<string, unknown>>): void {
  for (const key of Object.keys(document)) {
    const meant = decisive.find((name) => name.toLowerCase() === key.toUpperCase().toLowerCase());
    if (meant !== undefined && meant !== key) {
      throw invalid(`its key "${meant}" is written in another case, which clients read differently`);
    }
  }
}

function descriptors(value: unknown, where: string): readonly Descriptor[] {
  if (!Array.isArray(value)) throw invalid(`"${where}" is not a list`);
  if (value.length > mostChildren) throw invalid(`"${where}" has more than ${mostChildren} entries`);
  return value.map((entry, index) => descriptor(entry, `${where}[${index}]`));
}

function descriptor(value: unknown, where: string): Descriptor {
  if (!isObject(value)) throw invalid(`"${where}" is not a descriptor`);
  const { mediaType, digest, size, platform } = value;
  if (typeof mediaType !== 'string') throw invalid(`"${where}.mediaType" is missing`);
  const parsed = typeof digest === 'string' ? parseDigest(digest) : undefined;
  if (parsed === undefined) throw invalid(`"${where}.digest" is not a sha256 or sha512 digest`);
  if (typeof size !== 'number' || !Number.isSafeInteger(size) || size < 0) {
    throw invalid(`"${where}.size" is not a size in bytes`);
  }
  return { mediaType, digest: parsed, size, platform: parsePlatform(platform) };
}

function parsePlatform(value: unknown): Platform | undefined {
  if (!isObject(value)) return undefined;
  const { os, architecture, variant } = value;
  if (typeof os !== 'string' || typeof architecture !== 'string') return undefined;
  return { os, architecture, variant: typeof variant === 'string' ? variant : undefined };
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function invalid(why: string): OciError {
  return new OciError('MANIFEST_INVALID', `manifest invalid: ${why}`);
}

/** A platform as people write it: `os/architecture[/variant]`. */
export function platformText({ os, architecture, variant }: Platform): string {
  return variant === undefined ? `${os}/${architecture}` : `${os}/${architecture}/${variant}`;
}
