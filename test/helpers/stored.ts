import { mediaTypes } from '../../src/oci/media-types.ts';
import { parseRepositoryName, parseTag, type Tag } from '../../src/oci/reference.ts';
import type { RepositoryKey } from '../../src/oci/repository-key.ts';
import type { StoredManifest } from '../../src/store/manifest-records.ts';
import { digestOf } from './image.ts';

/** The key of a repository that the test knows to be well named. */
export function mustKey(registry: string, name: string): RepositoryKey {
  const repository = parseRepositoryName(name);
  if (repository === undefined) throw new Error(`not a name: ${name}`);
  return { registry, repository };
}

/** A tag that the test knows to be well formed. */
export function mustTag(text: string): Tag {
  const tag = parseTag(text);
  if (tag === undefined) throw new Error(`not a tag: ${text}`);
  return tag;
}

/** A manifest of some bytes, which no parser has to understand. */
export function manifest(text: string): StoredManifest {
  const bytes = Buffer.from(text);
  return { digest: digestOf(bytes), mediaType: mediaTypes.ociManifest, bytes };
}
