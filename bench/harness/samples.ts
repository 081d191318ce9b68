import type { Result } from './report.ts';

/** The middle value (mean of the middle two); NaN for none. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2;
}

/** The value that `share` (0..1) of the values do not exceed (nearest rank); NaN for none. */
export function percentile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? Number.NaN;
}

/** What a ratio to a peer, or a difference from it, has to satisfy. */
export type Target = {
  text: string;
  holds: (measured: { value: number; ratio: number; peer: number }) => boolean;
};

/** `ratio <= limit`. */
export const atMost = (limit: number): Target => ({
  text: `<= ${limit.toFixed(2)} ×`,
  holds: ({ ratio }) => ratio <= limit,
});

/** `ratio >= limit`. */
export const atLeast = (limit: number): Target => ({
  text: `>= ${limit.toFixed(2)} ×`,
  holds: ({ ratio }) => ratio >= limit,
});

/** Our value is below `limit`, in the row's unit, whatever the peer's. */
export const below = (limit: number, unit: string): Target => ({
  text: `< ${Number(limit.toFixed(1))} ${unit}`,
  holds: ({ value }) => value < limit,
});

/**
 * Collects one quantity over interleaved rounds, one value a party and round.
 * Rounds are paired by position: the n-th value of each party belongs to the same round.
 */
export class Samples {
  readonly #values = new Map<string, number[]>();

  add(party: string, value: number): void {
    const values = this.#values.get(party) ?? [];
    values.push(value);
    this.#values.set(party, values);
  }

  values(party: string): readonly number[] {
    return this.#values.get(party) ?? [];
  }

  /** Medians as a result row; the ratio is the median of the rounds' ratios, so drift of the machine cancels. */
  toResult(row: { metric: string; unit: string; versus?: string; target?: Target }): Result {
    const { versus, target } = row;
    const ours = this.values('entrepot');
    const peers = [...this.#values].filter(([party]) => party !== 'entrepot');
    const result: Result = {
      metric: row.metric,
      unit: row.unit,
      peers: Object.fromEntries(peers.map(([party, values]) => [party, median(values)])),
    };
    if (target) result.target = target.text;
    if (ours.length === 0) return result;
    const value = median(ours);
    result.entrepot = value;
    const theirs = versus === undefined ? [] : this.values(versus);
    const ratio = median(theirs.map((peer, round) => (ours[round] ?? Number.NaN) / peer));
    if (versus !== undefined && theirs.length > 0) Object.assign(result, { ratio, versus });
    if (target) result.met = target.holds({ value, ratio, peer: median(theirs) });
    return result;
  }
}
