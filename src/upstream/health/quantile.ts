/** A quantile over the last few samples. */
export class RecentQuantile {
  readonly #share: number;
  readonly #kept: number;
  readonly #needed: number;
  #samples: number[] = [];

  /** @param options.share which quantile (0.95); of the last `kept` samples, once there are `needed` of them */
  constructor(options: { share: number; kept: number; needed: number }) {
    this.#share = options.share;
    this.#kept = options.kept;
    this.#needed = options.needed;
  }

  /** The quantile by nearest rank; `undefined` while there are too few samples. */
  get value(): number | undefined {
    if (this.#samples.length < this.#needed) return undefined;
    const sorted = this.#samples.toSorted((a, b) => a - b);
    return sorted[Math.max(0, Math.ceil(this.#share * sorted.length) - 1)];
  }

  /** The samples kept, the oldest first. */
  get samples(): readonly number[] {
    return this.#samples;
  }

  /** Takes a sample; the oldest goes when there are too many. */
  add(sample: number): void {
    this.#samples.push(sample);
    if (this.#samples.length > this.#kept) this.#samples.shift();
  }

  /** Replaces all samples. */
  restore(samples: readonly number[]): void {
    this.#samples = samples.slice(-this.#kept);
  }
}
