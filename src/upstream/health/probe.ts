import type { Clock } from '../../lib/clock.ts';
import type { UpstreamHealth } from './health.ts';

type Told = { readonly at: number; readonly patience: number };

/** Milliseconds between two probes of an upstream whose breaker is half-open, at least. */
const pauseBetween = 1000;

/**
 * Says which upstreams are to be probed; the caller has the timer. One that traffic measured of late is never due;
 * one whose breaker waits for somebody to find out is due at once.
 */
export class ProbeSchedule {
  readonly #clock: Clock;
  readonly #random: () => number;
  readonly #idle: number;
  readonly #told = new WeakMap<UpstreamHealth, Told>();

  /**
   * @param deps.random a number from 0 to below 1
   * @param options.idle milliseconds without a sample after which an upstream is due (60 s), and up to a quarter more
   */
  constructor(deps: { clock: Clock; random: () => number }, options: { idle?: number } = {}) {
    this.#clock = deps.clock;
    this.#random = deps.random;
    this.#idle = options.idle ?? 60_000;
  }

  /** Those that are due, which are taken to be probed now. */
  due<T extends { readonly health: UpstreamHealth }>(upstreams: readonly T[]): readonly T[] {
    const now = this.#clock.now();
    return upstreams.filter(({ health }) => {
      const told = this.#told.get(health) ?? { at: -Infinity, patience: this.#draw() };
      const is = isDue(health, now - told.at, told.patience);
      this.#told.set(health, is ? { at: now, patience: this.#draw() } : told);
      return is;
    });
  }

  #draw(): number {
    return this.#idle * (1 + this.#random() / 4);
  }
}

function isDue(health: UpstreamHealth, sinceTold: number, patience: number): boolean {
  if (health.exclusionFor('tags') !== undefined) return false;
  if (health.state === 'half-open') return sinceTold >= pauseBetween || sinceTold < 0;
  return health.idleMs > patience && (sinceTold > patience || sinceTold < 0);
}
