import { LRUCache } from 'lru-cache';
import type { Clock } from '../../lib/clock.ts';

/** Remembers failures briefly, so that a client that repeats itself is answered without asking upstream again. */
export class Absences {
  readonly #clock: Clock;
  readonly #known = new LRUCache<string, { readonly error: Error; readonly until: number }>({ max: 20_000 });

  constructor(deps: { clock: Clock }) {
    this.#clock = deps.clock;
  }

  /** Remembers `error` as the answer for `key`, for `ttl` milliseconds. */
  remember(key: string, error: Error, ttl: number): void {
    if (ttl > 0) this.#known.set(key, { error, until: this.#clock.now() + ttl });
  }

  /** The answer that still holds for `key`. */
  recall(key: string): Error | undefined {
    const known = this.#known.get(key);
    if (known === undefined) return undefined;
    if (this.#clock.now() < known.until) return known.error;
    this.#known.delete(key);
    return undefined;
  }

  /** Forgets what is known of `key`. */
  forget(key: string): void {
    this.#known.delete(key);
  }
}
