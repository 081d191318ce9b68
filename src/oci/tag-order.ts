/**
 * Compares two tags for a listing: case-insensitive alphanumeric order (distribution-spec, "Listing Tags"). Tags that
 * differ in case alone are in ASCII order, so that no two are equal.
 */
export function compareTags(one: string, other: string): number {
  return compareText(one.toLowerCase(), other.toLowerCase()) || compareText(one, other);
}

function compareText(one: string, other: string): number {
  if (one === other) return 0;
  return one < other ? -1 : 1;
}
