import { compareTags } from '../../oci/tag-order.ts';

/** Which tags of a listing are asked for: `n` after `last`, or as many as one page holds. */
export type PageAsked = { readonly n: number | undefined; readonly last: string | undefined };

/** The longest page, whatever `n` a client names. */
const longestPage = 10_000;

/**
 * A page of the tags that `allows` shows, whatever the order in which they are listed. `last` need not be one of
 * them: what comes after it is what the order of tags puts behind it.
 */
export function pageOf(
  listed: readonly string[],
  { n, last }: PageAsked,
  allows: (tag: string) => boolean,
): { readonly tags: readonly string[] /** Whether tags follow the last one. */; readonly more: boolean } {
  const behind = last === undefined ? listed : listed.filter((tag) => compareTags(tag, last) > 0);
  // Sorting what is in order already costs one comparison a tag.
  const after = behind.filter(allows).sort(compareTags);
  const tags = after.slice(0, Math.min(n ?? longestPage, longestPage));
  return { tags, more: tags.length > 0 && tags.length < after.length };
}
