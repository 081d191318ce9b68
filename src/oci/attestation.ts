import { type Digest, parseDigest } from './digest.ts';

/** How BuildKit marks an index entry that is about another entry, and which. */
const referenceAnnotation = 'vnd.docker.reference.digest';

/**
 * The entries of an index that are about other entries (BuildKit's attestations: provenance, SBOM), by digest, with the
 * digest that each is about. Such entries are filed under a platform that does not exist. Of bytes that are no index:
 * none.
 */
export function attestedBy(index: Uint8Array): ReadonlyMap<Digest, Digest> {
  const found = new Map<Digest, Digest>();
  for (const entry of entriesOf(index)) {
    const { digest, annotations } = fieldsOf(entry);
    const own = digestOf(digest);
    const about = digestOf(fieldsOf(annotations)[referenceAnnotation]);
    if (own !== undefined && about !== undefined && about !== own) found.set(own, about);
  }
  return found;
}

function entriesOf(index: Uint8Array): readonly unknown[] {
  try {
    const { manifests } = fieldsOf(JSON.parse(new TextDecoder().decode(index)));
    return Array.isArray(manifests) ? manifests : [];
  } catch {
    return [];
  }
}

function fieldsOf(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
}

function digestOf(value: unknown): Digest | undefined {
  return typeof value === 'string' ? parseDigest(value) : undefined;
}
