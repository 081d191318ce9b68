/** A source of wall-clock time, so that freshness rules can be tested without waiting. */
export type Clock = {
  /** Milliseconds since the Unix epoch. */
  now(): number;
};

/** The machine's clock. */
export const systemClock: Clock = { now: () => Date.now() };
