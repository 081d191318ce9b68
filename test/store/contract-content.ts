import type { Digest } from '../../src/oci/digest.ts';
import type { Tag } from '../../src/oci/reference.ts';
import type { RepositoryKey } from '../../src/oci/repository-key.ts';
import type { ChildLink, LinkRole, StoredManifest } from '../../src/store/manifest-records.ts';
import type { Metadata } from '../../src/store/metadata.ts';
import { makeBlob } from '../helpers/image.ts';
import { mustKey, mustTag } from '../helpers/stored.ts';

/** Three repositories; the third has the name of the first, in another registry. */
export const app = mustKey('ghcr.io', 'org/app');
export const other = mustKey('ghcr.io', 'org/other');
export const namesake = mustKey('docker.io', 'org/app');

export const [v1, v2] = [mustTag('v1'), mustTag('v2')];

/** Two digests that no manifest has. */
export const [layer, spare] = [makeBlob('layer', 10).digest, makeBlob('spare', 10).digest];

/** A child of ten bytes. */
export function child(digest: Digest, role: LinkRole = 'layer'): ChildLink {
  return { digest, role, size: 10, mediaType: 'application/x', platform: undefined };
}

/** What led to a manifest that was asked for by digest. */
export const found = { tag: undefined, upstream: 'u', at: 5 };

/** What a test stores a manifest as: in {@link app}, of no tag and without children, unless it says otherwise. */
export type PutOptions = {
  tag?: Tag;
  at?: number;
  children?: readonly ChildLink[];
  key?: RepositoryKey;
};

/** Stores a manifest that an upstream sent. */
export function put(
  metadata: Metadata,
  stored: StoredManifest,
  { tag, at = 1, children = [], key = app }: PutOptions = {},
): ReturnType<Metadata['manifests']['put']> {
  return metadata.manifests.put(key, stored, children, { tag, upstream: 'up', at });
}
