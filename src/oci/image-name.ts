import { type Digest, parseDigest } from './digest.ts';
import { isRegistryHost, parseRepositoryName, parseTag, type RepositoryName, type Tag } from './reference.ts';

/** An image as people write it (`python:3.12`, `ghcr.io/org/app@sha256:...`), with what they leave out filled in. */
export type ImageName = {
  readonly registry: string;
  readonly repository: RepositoryName;
  /** As written: no tag is ever assumed. */
  readonly tag: Tag | undefined;
  readonly digest: Digest | undefined;
};

/** Longer than any valid name with its tag and digest. */
const longestText = 1024;

/**
 * Parses `[registry/]repository[:tag][@digest]` by Docker's rules: the first component is a registry when it holds a
 * dot or a colon or is `localhost`, and a Docker Hub name of one component is in `library/`. Unlike Docker, a first
 * component in `registries` is a registry too, and `latest` is not assumed. `undefined` when malformed.
 * @param defaultRegistry the registry of a name without one
 * @param registries names known to be registries although they do not look like hosts
 */
export function parseImageName(
  text: string,
  defaultRegistry: string,
  registries: Iterable<string> = [],
): ImageName | undefined {
  if (text.length > longestText) return undefined;
  const { name, tag, digest } = splitReference(text);
  if (tag !== undefined && parseTag(tag) === undefined) return undefined;
  if (digest !== undefined && parseDigest(digest) === undefined) return undefined;
  const slash = name.indexOf('/');
  const first = slash < 0 ? '' : name.slice(0, slash);
  const prefixed = looksLikeHost(first) || [...registries].includes(first);
  const registry = prefixed ? withoutIndex(first) : defaultRegistry;
  if (!isRegistryHost(registry)) return undefined;
  const path = prefixed ? name.slice(slash + 1) : name;
  const repository = parseRepositoryName(withLibrary(registry, path));
  if (repository === undefined) return undefined;
  return {
    registry,
    repository,
    tag: tag === undefined ? undefined : parseTag(tag),
    digest: digest === undefined ? undefined : parseDigest(digest),
  };
}

/** Takes the parts apart without judging them; a colon before the last slash belongs to a port. */
function splitReference(text: string): {
  name: string;
  tag: string | undefined;
  digest: string | undefined;
} {
  const at = text.indexOf('@');
  const named = at < 0 ? text : text.slice(0, at);
  const colon = named.lastIndexOf(':');
  const tagged = colon > named.lastIndexOf('/');
  return {
    name: tagged ? named.slice(0, colon) : named,
    tag: tagged ? named.slice(colon + 1) : undefined,
    digest: at < 0 ? undefined : text.slice(at + 1),
  };
}

/** Docker Hub's rule: a name of one component stands for an official image. */
export function withLibrary(registry: string, name: string): string {
  return registry === 'docker.io' && !name.includes('/') ? `library/${name}` : name;
}

/** Docker's own test for whether the first component of a name is a host. */
export function looksLikeHost(component: string): boolean {
  return component === 'localhost' || component.includes('.') || component.includes(':');
}

/** Docker Hub's old name, which Docker still reads as `docker.io`. */
function withoutIndex(registry: string): string {
  return registry === 'index.docker.io' ? 'docker.io' : registry;
}
