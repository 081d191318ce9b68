import { bareMediaType, mediaTypes } from '../../oci/media-types.ts';
import { parseTag } from '../../oci/reference.ts';

/** The tags of one page of `tags/list`, without those that are no tags; `undefined` when it is no such page. */
export function readTagPage(body: Buffer): readonly string[] | undefined {
  const page = parseObject(body);
  const tags = page?.['tags'];
  // Registries answer `null` for a repository without tags.
  if (tags === null) return [];
  if (!Array.isArray(tags)) return undefined;
  return tags.filter((tag): tag is string => typeof tag === 'string' && parseTag(tag) !== undefined);
}

/** Whether the content type of a referrers answer is the one the spec demands. */
export function isReferrersType(header: string | undefined): boolean {
  return bareMediaType(header ?? '') === mediaTypes.ociIndex;
}

/** The pages of a referrers listing as one index; a single page stays as it was sent. `undefined` when malformed. */
export function mergeReferrers(pages: readonly Buffer[]): Buffer | undefined {
  const manifests: unknown[] = [];
  for (const body of pages) {
    const listed = parseObject(body)?.['manifests'];
    if (!Array.isArray(listed)) return undefined;
    for (const descriptor of listed) manifests.push(descriptor);
  }
  if (pages.length === 1) return pages[0];
  return Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: mediaTypes.ociIndex, manifests }));
}

function parseObject(body: Buffer): Readonly<Record<string, unknown>> | undefined {
  try {
    const parsed: unknown = JSON.parse(body.toString('utf8'));
    return typeof parsed === 'object' && parsed !== null
      ? (parsed as Readonly<Record<string, unknown>>)
      : undefined;
  } catch {
    return undefined;
  }
}
