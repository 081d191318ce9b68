import { isDerivedTag, parseTag, type Tag } from '../../oci/reference.ts';
import { tagMatcher } from '../../policy/patterns.ts';
import { parseVersionTag, versionMatcher } from '../../policy/version-tags.ts';

/** Which tags of a repository are meant; what is left out does not restrict. */
export type TagSelection = {
  /** Globs, or regular expressions between slashes. */
  readonly tags?: readonly string[] | undefined;
  /** A version range as npm writes it. */
  readonly semver?: string | undefined;
  /** How many of the highest versions; tags of the same version count once. */
  readonly newest?: number | undefined;
};

/**
 * The tags that a selection means: those that are versions first, the highest before the others. Signatures and the
 * like are never among them. With `newest` alone, pre-releases are left out, as every version range leaves them out.
 * @throws {TypeError} for a pattern or range that is none
 */
export function selectTags(
  listed: readonly string[],
  { tags, semver, newest }: TagSelection,
): readonly Tag[] {
  const matches = tags === undefined ? undefined : tagMatcher(tags);
  const within = semver === undefined ? undefined : versionMatcher(semver);
  const named = [...new Set(listed)]
    .map(parseTag)
    .filter((tag) => tag !== undefined && !isDerivedTag(tag))
    .filter((tag) => tag !== undefined && matches?.(tag) !== false && within?.(tag) !== false)
    .map((tag) => ({ tag: tag as Tag, version: parseVersionTag(tag as Tag) }))
    .sort((a, b) => {
      if (a.version === undefined || b.version === undefined) {
        return Number(a.version === undefined) - Number(b.version === undefined) || byText(a.tag, b.tag);
      }
      return b.version.compare(a.version) || byText(a.tag, b.tag);
    });
  if (newest === undefined) return named.map(({ tag }) => tag);
  const plain = tags === undefined && semver === undefined;
  const versions = new Set<string>();
  return named.flatMap(({ tag, version }) => {
    if (version === undefined || (plain && version.prerelease.length > 0)) return [];
    versions.add(version.version);
    return versions.size > newest ? [] : [tag];
  });
}

function byText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
