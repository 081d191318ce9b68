import { retryAfterOf, type Verdict } from '../asking/outcomes.ts';

/** The longest that a rate limit is waited for, in milliseconds; clients may as well come again after a longer one. */
const longestWait = 5_000;

/** So that an upstream's clock has certainly passed the time that it named, in milliseconds. */
const margin = 50;

/**
 * Whether upstreams that all said no are asked once more before the clients are told, which many of them take for the
 * end of a pull: about a blob that has to be there, and when the rate limit is over in a moment.
 * @param named whether a manifest names the blob
 * @param pause milliseconds to wait before asking again for what is said to be missing
 * @returns the milliseconds to wait first; `undefined` when their word is final
 */
export function pauseBeforeSecondLook(
  verdict: Verdict,
  { named, pause }: { named: boolean; pause: number },
): number | undefined {
  if (verdict.refusals.length === 0) return undefined;
  if (verdict.kind === 'missing') return named ? pause : undefined;
  if (verdict.kind !== 'limited') return undefined;
  const wait = (retryAfterOf(verdict) ?? Number.POSITIVE_INFINITY) * 1000;
  return wait <= longestWait ? wait + margin : undefined;
}
