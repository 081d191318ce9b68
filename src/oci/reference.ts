import { type Digest, parseDigest } from './digest.ts';

/** A repository's `<name>` of the distribution-spec: lower case, path components, at most 255 characters. */
export type RepositoryName = string & { readonly __brand: 'RepositoryName' };

/** A tag of the distribution-spec: at most 128 characters, no slash, no colon. */
export type Tag = string & { readonly __brand: 'Tag' };

/** What names a manifest within a repository: a tag (may move) or a digest (content). */
export type Reference =
  | { readonly kind: 'tag'; readonly tag: Tag }
  | { readonly kind: 'digest'; readonly digest: Digest };

const namePattern = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:\/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*$/;
const tagPattern = /^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$/;
const registryPattern =
  /^(?:localhost|[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*)(?::[0-9]{1,5})?$/;

/** The spec's limit on a name, counted with the registry host that clients put before it. */
const longestName = 255;

/** Parses a repository name (distribution-spec, "Pulling manifests"); `undefined` when malformed. */
export function parseRepositoryName(text: string): RepositoryName | undefined {
  return text.length <= longestName && namePattern.test(text) ? (text as RepositoryName) : undefined;
}

/** Parses a tag; `undefined` when malformed. */
export function parseTag(text: string): Tag | undefined {
  return tagPattern.test(text) ? (text as Tag) : undefined;
}

/** Parses a `<reference>`: a digest when it holds a colon, else a tag; `undefined` when malformed. */
export function parseReference(text: string): Reference | undefined {
  if (text.includes(':')) {
    const digest = parseDigest(text);
    return digest && { kind: 'digest', digest };
  }
  const tag = parseTag(text);
  return tag && { kind: 'tag', tag };
}

/** The reference as it stands in a path. */
export function referenceText(reference: Reference): string {
  return reference.kind === 'tag' ? reference.tag : reference.digest;
}

/** Whether `text` has the form of a registry host (`host`, `host:port`): lower case, no path, no credentials. */
export function isRegistryHost(text: string): boolean {
  return text.length <= longestName && registryPattern.test(text);
}

/**
 * The tag under which the referrers of a digest are listed on registries without the referrers API
 * (distribution-spec, "Referrers Tag Schema"): the digest with its colon replaced, cut to 128 characters.
 */
export function referrersTag(digest: Digest): Tag {
  const [algorithm = '', hex = ''] = digest.split(':');
  return `${algorithm.slice(0, 32)}-${hex.slice(0, 64)}` as Tag;
}

/** The tags under which what refers to a digest is kept where there is no referrers API: the spec's, and cosign's. */
export function derivedTags(subject: Digest): readonly Tag[] {
  const tag = referrersTag(subject);
  return [tag, ...['.sig', '.att', '.sbom'].map((ending) => `${tag}${ending}` as Tag)];
}

const derivedTagPattern = /^sha(256|512)-([0-9a-f]{64})(?:\.[a-z]+)?$/;

/** Whether a tag names what refers to a digest (`sha256-<hex>`, `.sig`, `.att`, `.sbom`) rather than a version. */
export function isDerivedTag(tag: string): boolean {
  return derivedTagPattern.test(tag);
}

/**
 * The digest that a derived tag is about; `undefined` for other tags, and for sha512, of whose digits the tag holds
 * only half.
 */
export function subjectOfTag(tag: string): Digest | undefined {
  const [, algorithm, hex] = derivedTagPattern.exec(tag) ?? [];
  return algorithm === '256' ? parseDigest(`sha256:${hex}`) : undefined;
}
