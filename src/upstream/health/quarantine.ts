import type { Clock } from '../../lib/clock.ts';
import { leftOf } from './period.ts';
import type { QuarantineSnapshot } from './snapshot.ts';

/** Milliseconds that a first quarantine lasts. */
const firstTime = 10 * 60_000;

/** Milliseconds that a quarantine lasts at most; after as many of good conduct the next one counts as the first. */
const longestTime = 24 * 60 * 60_000;

/** Keeps an upstream that served wrong bytes from being asked for content: for longer each time again. */
export class Quarantine {
  readonly #clock: Clock;
  #last: QuarantineSnapshot | undefined;

  constructor(deps: { clock: Clock }) {
    this.#clock = deps.clock;
  }

  /** Milliseconds that it still lasts; 0 when there is none. */
  get left(): number {
    return leftOf(this.#last, this.#clock.now());
  }

  /** Why the last one began. */
  get reason(): string | undefined {
    return this.#last?.reason;
  }

  /**
   * Begins one, twice as long each time again, a day at most. While one lasts nothing is added to it.
   * @param ms milliseconds that a first one lasts
   */
  begin(reason: string, ms: number = firstTime): void {
    if (this.left > 0) return;
    const now = this.#clock.now();
    const last = this.#last;
    const again = last !== undefined && now - (last.since + last.ms) < longestTime;
    const repeats = again ? last.repeats + 1 : 1;
    this.#last = { reason, since: now, ms: Math.min(longestTime, ms * 2 ** (repeats - 1)), repeats };
  }

  /** What {@link Quarantine.restore} takes. */
  snapshot(): QuarantineSnapshot | undefined {
    return this.#last;
  }

  /** Takes up what was known. */
  restore(snapshot: QuarantineSnapshot | undefined): void {
    this.#last = snapshot;
  }
}
