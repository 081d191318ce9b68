const longest = 24 * 60 * 60;

/**
 * Parses `Retry-After` (RFC 9110, section 10.2.3: seconds or a date) into whole seconds from `now`
 * (milliseconds since the epoch), within 0 and a day; `undefined` when absent or malformed.
 */
export function parseRetryAfter(value: string | undefined, now: number): number | undefined {
  if (value === undefined) return undefined;
  const text = value.trim();
  if (/^[0-9]{1,10}$/.test(text)) return Math.min(Number(text), longest);
  if (!/^[A-Z][a-z]{2,8}, /.test(text)) return undefined;
  const at = Date.parse(text);
  return Number.isNaN(at) ? undefined : Math.min(Math.max(0, Math.ceil((at - now) / 1000)), longest);
}
