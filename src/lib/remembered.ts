import { LRUCache } from 'lru-cache';
import type { Clock } from './clock.ts';

/** Values by key, each of which holds for a time. Their number is bounded: the one used longest ago goes first. */
export class Remembered<V> {
  readonly #clock: Clock;
  readonly #known: LRUCache<string, { readonly value: V; readonly until: number }>;

  /** @param options.most values remembered at once */
  constructor(deps: { clock: Clock }, options: { most: number }) {
    this.#clock = deps.clock;
    this.#known = new LRUCache({ max: options.most });
  }

  /** Remembers a value in place of an earlier one, until a time in milliseconds since the epoch. */
  set(key: string, value: V, until: number): void {
    this.#known.set(key, { value, until });
  }

  /** The value that still holds for `key`. */
  get(key: string): V | undefined {
    const known = this.#known.get(key);
    if (known === undefined) return undefined;
    if (this.#clock.now() < known.until) return known.value;
    this.#known.delete(key);
    return undefined;
  }

  /** Forgets the value for `key`. */
  delete(key: string): void {
    this.#known.delete(key);
  }

  /** Forgets everything. */
  clear(): void {
    this.#known.clear();
  }
}
