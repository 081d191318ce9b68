import { type Digest, parseDigest } from '../../oci/digest.ts';
import { OciError } from '../../oci/errors.ts';
import { type ImageName, parseImageName } from '../../oci/image-name.ts';
import { isPlatformText } from '../../oci/platform.ts';
import { parseTag, type Tag } from '../../oci/reference.ts';
import { imageText } from '../../oci/repository-key.ts';

/** How image names in admin requests are read. */
export type NameOptions = {
  readonly defaultRegistry: string;
  /** The names of the configured registries. */
  readonly registries: readonly string[];
};

/** Images that one request may name. */
const mostImages = 10_000;

/** Platforms that one request may name. */
const mostPlatforms = 50;

/** Characters of a value quoted in a message. */
const longestQuote = 120;

/**
 * Checks that `value` is an object with the keys of `required`, perhaps those of `optional` and no others, all
 * strings.
 * @throws OciError `NAME_INVALID`
 */
export function stringsOf<R extends string, O extends string = never>(
  value: unknown,
  required: readonly R[],
  optional: readonly O[] = [],
): Readonly<Record<R, string>> & Readonly<Partial<Record<O, string>>> {
  const object = objectOf(value, [...required, ...optional]);
  for (const [key, text] of Object.entries(object)) {
    if (typeof text !== 'string') throw invalid(`${key} must be a string`);
  }
  const missing = required.find((key) => !Object.hasOwn(object, key));
  if (missing !== undefined) throw invalid(`${missing} is missing`);
  return object as Record<R, string> & Partial<Record<O, string>>;
}

/**
 * Checks that `value` is `{images: [...]}`, each with a tag and without a digest; an image named twice is kept once.
 * @throws OciError `NAME_INVALID` naming the first that is not
 */
export function taggedImagesOf(
  value: unknown,
  options: NameOptions,
): readonly (ImageName & { readonly tag: Tag })[] {
  const { images } = objectOf(value, ['images']);
  if (!Array.isArray(images) || images.length === 0) throw invalid('images must be a list of names');
  if (images.length > mostImages) throw invalid(`images may name at most ${mostImages}`);
  const named = images.map((text: unknown) => taggedImage(text, options));
  return [...new Map(named.map((name) => [imageText(name, { kind: 'tag', tag: name.tag }), name])).values()];
}

/**
 * The repository that `text` names, without a tag or digest.
 * @throws OciError `NAME_INVALID`
 */
export function repositoryOf(text: string, options: NameOptions): ImageName {
  const name = imageOf(text, options);
  if (name.tag !== undefined || name.digest !== undefined) {
    throw invalid(`${quoted(text)} names a tag or a digest: image takes the repository alone`);
  }
  return name;
}

/** @throws OciError `NAME_INVALID` */
export function tagOf(text: string): Tag {
  const tag = parseTag(text);
  if (tag === undefined) throw invalid(`${quoted(text)} is no tag`);
  return tag;
}

/** @throws OciError `DIGEST_INVALID` */
export function digestOf(text: string): Digest {
  const digest = parseDigest(text);
  if (digest !== undefined) return digest;
  throw new OciError(
    'DIGEST_INVALID',
    `${quoted(text)} is no digest: give it whole, sha256: and 64 hex digits`,
  );
}

/**
 * Checks that `value` is a list of texts, at most `most` of them.
 * @param what what the list is called in a message
 * @throws OciError `NAME_INVALID`
 */
export function textsOf(what: string, value: unknown, most: number = mostImages): readonly string[] {
  if (!Array.isArray(value) || !value.every((each) => typeof each === 'string')) {
    throw invalid(`${what} must be a list of texts`);
  }
  if (value.length > most) throw invalid(`${what}: at most ${most} may be given`);
  return value;
}

/**
 * Checks that `value` is a list of platforms (`os/architecture[/variant]`); one that is named twice is kept once.
 * @param what what the list is called in a message
 * @throws OciError `NAME_INVALID`
 */
export function platformsOf(what: string, value: unknown): readonly string[] {
  const texts = textsOf(what, value, mostPlatforms);
  const wrong = texts.find((text) => !isPlatformText(text));
  if (wrong !== undefined) throw invalid(`${quoted(wrong)} is no platform: write it as linux/amd64`);
  return [...new Set(texts)];
}

/** A request that is malformed. */
export function invalid(message: string, cause?: unknown): OciError {
  return new OciError('NAME_INVALID', message, { cause });
}

function taggedImage(text: unknown, options: NameOptions): ImageName & { readonly tag: Tag } {
  if (typeof text !== 'string') throw invalid('images must be a list of names');
  const { tag, ...name } = imageOf(text, options);
  if (tag === undefined)
    throw invalid(`${quoted(text)} has no tag: say which, as in ${quoted(`${text}:1.0`)}`);
  if (name.digest !== undefined) {
    throw invalid(`${quoted(text)} has a digest: name the tag alone, and what it names now is looked up`);
  }
  return { ...name, tag };
}

/** @throws OciError `NAME_INVALID` */
export function imageOf(text: string, { defaultRegistry, registries }: NameOptions): ImageName {
  const name = parseImageName(text, defaultRegistry, registries);
  if (name === undefined) throw invalid(`${quoted(text)} is no image name`);
  return name;
}

/**
 * Checks that `value` is an object with no other keys than these.
 * @throws OciError `NAME_INVALID`
 */
export function objectOf(value: unknown, keys: readonly string[]): Readonly<Record<string, unknown>> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw invalid('the request must be a JSON object');
  }
  const unknown = Object.keys(value).find((key) => !keys.includes(key));
  if (unknown !== undefined)
    throw invalid(`${quoted(unknown)} is not known: ${keys.join(', ')} may be given`);
  return value as Record<string, unknown>;
}

function quoted(text: string): string {
  return JSON.stringify(text.length > longestQuote ? `${text.slice(0, longestQuote)}...` : text);
}
