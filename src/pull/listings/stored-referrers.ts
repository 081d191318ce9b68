import type { Digest } from '../../oci/digest.ts';
import { mediaTypes } from '../../oci/media-types.ts';
import type { RepositoryKey } from '../../oci/repository-key.ts';
import type { StoredManifest } from '../../store/manifest-records.ts';
import type { Metadata } from '../../store/metadata.ts';
import type { ReferrersAnswer } from './pages.ts';

/**
 * The referrers of a digest that are stored (distribution-spec, "Listing Referrers"), for where no upstream is asked;
 * an empty list when there is none.
 */
export async function storedReferrers(
  metadata: Pick<Metadata, 'links' | 'manifests'>,
  key: RepositoryKey,
  subject: Digest,
  artifactType: string | undefined,
): Promise<ReferrersAnswer> {
  const manifests: object[] = [];
  for (const digest of await metadata.links.referrersOf(key, subject)) {
    const stored = await metadata.manifests.get(key, digest);
    if (stored === undefined) continue;
    const listed = descriptorOf(stored);
    if (artifactType === undefined || listed.artifactType === artifactType) manifests.push(listed);
  }
  const mediaType = mediaTypes.ociIndex;
  return {
    body: Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType, manifests })),
    mediaType,
    filtersApplied: artifactType === undefined ? undefined : 'artifactType',
    outcome: 'hit',
    staleBecause: undefined,
  };
}

/** The spec's words: without an `artifactType` of its own, an image has its config's media type. */
function descriptorOf({ digest, mediaType, bytes }: StoredManifest) {
  const { artifactType, config, annotations } = JSON.parse(bytes.toString()) as {
    artifactType?: string;
    config?: { mediaType?: string };
    annotations?: Readonly<Record<string, string>>;
  };
  return {
    mediaType,
    digest,
    size: bytes.length,
    artifactType: artifactType ?? config?.mediaType,
    ...(annotations && { annotations }),
  };
}
