import type { Clock } from '../../lib/clock.ts';
import { Remembered } from '../../lib/remembered.ts';

/** Failures remembered at once. */
const mostKnown = 20_000;

/** Remembers failures briefly, so that a client that repeats itself is answered without asking upstream again. */
export class Absences {
  readonly #clock: Clock;
  readonly #known: Remembered<Error>;

  constructor(deps: { clock: Clock }) {
    this.#clock = deps.clock;
    this.#known = new Remembered(deps, { most: mostKnown });
  }

  /** Remembers `error` as the answer for `key`, for `ttl` milliseconds. */
  remember(key: string, error: Error, ttl: number): void {
    if (ttl > 0) this.#known.set(key, error, this.#clock.now() + ttl);
  }

  /** The answer that still holds for `key`. */
  recall(key: string): Error | undefined {
    return this.#known.get(key);
  }

  /** Forgets what is known of `key`. */
  forget(key: string): void {
    this.#known.delete(key);
  }
}
