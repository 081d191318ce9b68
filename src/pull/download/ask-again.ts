import { retryAfterOf, type Verdict } from '../asking/outcomes.ts';

/** The longest that a rate limit is waited for, in milliseconds; clients may as well come again after a longer one. */
const longestWait = 5_000;

/** Milliseconds waited beyond the time that an upstream named, so that its clock has passed it too. */
const margin = 50;

/**
 * Decides whether upstreams that all refused a blob are asked once more before clients are told: many clients end their
 * pull then. They are asked again for a blob that a manifest names, and where a rate limit ends soon.
 * @param named whether a manifest names the blob
 * @param pause milliseconds to wait before asking again for what is said to be missing
 * @returns the milliseconds to wait first; `undefined` when their word is final
 */
export function pauseBeforeAskingAgain(
  verdict: Verdict,
  { named, pause }: { named: boolean; pause: number },
): number | undefined {
  if (verdict.refusals.length === 0) return undefined;
  if (verdict.kind === 'missing') return named ? pause : undefined;
  if (verdict.kind !== 'limited') return undefined;
  const wait = (retryAfterOf(verdict) ?? Number.POSITIVE_INFINITY) * 1000;
  return wait <= longestWait ? wait + margin : undefined;
}
