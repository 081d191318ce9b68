import type { Digest } from '../../oci/digest.ts';
import { isDerivedTag, subjectOfTag } from '../../oci/reference.ts';
import type { RepositoryKey } from '../../oci/repository-key.ts';
import type { Metadata } from '../../store/metadata.ts';

/** A way to a digest: the tag where it begins, if one does, and the digests on it that rules may speak of. */
export type Way = { readonly tag: string | undefined; readonly via: readonly Digest[] };

/** Signatures of signatures: nobody means deeper ones. */
const deepest = 3;

/**
 * The known ways to a digest in a repository: none where manifests refer to each other in a circle that no tag leads
 * into. A derived tag is no beginning: the ways to what it is derived from lead on to what it names.
 * @param options as for `LinkRecords.leadsTo`
 */
export async function waysTo(
  metadata: Pick<Metadata, 'links'>,
  key: RepositoryKey,
  digest: Digest,
  options: { readonly current: boolean; readonly noted: readonly Digest[] },
  depth = deepest,
): Promise<readonly Way[]> {
  const ways: Way[] = [];
  for (const { tag, from, noted } of await metadata.links.leadsTo(key, digest, options)) {
    const via = [from, ...noted];
    if (tag === undefined || !isDerivedTag(tag)) {
      ways.push({ tag, via });
      continue;
    }
    const subject = depth > 0 ? subjectOfTag(tag) : undefined;
    if (subject === undefined) ways.push({ tag: undefined, via });
    else
      for (const way of await waysTo(metadata, key, subject, options, depth - 1)) {
        ways.push({ tag: way.tag, via: [...via, ...way.via] });
      }
  }
  return ways;
}
