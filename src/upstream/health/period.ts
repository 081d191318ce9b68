/** A stretch of time; `since` in milliseconds since the Unix epoch, `ms` its length. */
export type Period = { readonly since: number; readonly ms: number };

/**
 * The milliseconds of a period that are left, 0 when it is over or there is none. A clock that was set back to
 * before the period began ends it, so that nothing is excluded for longer than was meant.
 */
export function leftOf(period: Period | undefined, now: number): number {
  if (period === undefined || now < period.since) return 0;
  return Math.max(0, period.since + period.ms - now);
}

/** The milliseconds since a time, `Infinity` for none, and for one that is yet to come as the clock was set back. */
export function ageOf(at: number | undefined, now: number): number {
  return at === undefined || at > now ? Infinity : now - at;
}
