import type { Clock } from '../../lib/clock.ts';

/** What an average is made of, as of `at` (milliseconds since the Unix epoch). */
export type AverageSnapshot = {
  readonly value: number;
  readonly weight: number;
  readonly count: number;
  readonly at: number;
};

/** The most that all earlier samples together weigh against a new one: a change shows within a few samples. */
const heaviestPast = 4;

/** After so many milliseconds without a sample they weigh no more than the new one: much may have changed. */
const longAgo = 60_000;

/** Samples that weigh less than this together say nothing about now: six half-lives after the last. */
const forgotten = 1 / 64;

/**
 * An average in which a sample's weight halves with each half-life that passes. Among samples that come close
 * together a new one counts for at least a fifth.
 */
export class MovingAverage {
  readonly #clock: Clock;
  readonly #halfLife: number;
  #state: AverageSnapshot | undefined;

  /** @param options.halfLife milliseconds in which a sample comes to weigh half */
  constructor(deps: { clock: Clock }, options: { halfLife: number }) {
    this.#clock = deps.clock;
    this.#halfLife = options.halfLife;
  }

  /** The average, or `undefined` without a sample of late. */
  get value(): number | undefined {
    return this.#current()?.value;
  }

  /** How many samples went into the average since it was last without one. */
  get count(): number {
    return this.#current()?.count ?? 0;
  }

  /** When the last sample came, in milliseconds since the Unix epoch. */
  get at(): number | undefined {
    return this.#state?.at;
  }

  /** Takes a sample. */
  add(sample: number): void {
    const now = this.#clock.now();
    const past = this.#current();
    const heaviest = past !== undefined && now - past.at >= longAgo ? 1 : heaviestPast;
    const before = past === undefined ? 0 : Math.min(heaviest, this.#weightOf(past));
    const value = past === undefined ? sample : past.value + (sample - past.value) / (before + 1);
    this.#state = { value, weight: before + 1, count: (past?.count ?? 0) + 1, at: now };
  }

  /** What {@link MovingAverage.restore} takes; `undefined` without a sample of late. */
  snapshot(): AverageSnapshot | undefined {
    return this.#current();
  }

  /** Takes up an average where it was left; the time since then counts. */
  restore(snapshot: AverageSnapshot | undefined): void {
    this.#state = snapshot;
  }

  #current(): AverageSnapshot | undefined {
    return this.#state !== undefined && this.#weightOf(this.#state) >= forgotten ? this.#state : undefined;
  }

  #weightOf({ weight, at }: AverageSnapshot): number {
    return weight * 2 ** (-Math.max(0, this.#clock.now() - at) / this.#halfLife);
  }
}
