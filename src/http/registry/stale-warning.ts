/** Characters of a warning: enough for a reason, little enough for any client's header limit. */
const longestWarning = 300;

/**
 * The value of `Warning` for a stale answer, which some clients print (RFC 7234, section 5.5.7), kept to what a quoted
 * string may hold; `undefined` for an answer that is not.
 */
export function staleWarning(because: string | undefined): string | undefined {
  if (because === undefined) return undefined;
  const text = `stale: ${because}`.replace(/[^\x20-\x7e]/g, '?').replace(/["\\]/g, "'");
  return `299 - "${text.slice(0, longestWarning)}"`;
}
