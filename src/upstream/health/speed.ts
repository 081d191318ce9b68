import type { Clock } from '../../lib/clock.ts';
import { type AverageSnapshot, MovingAverage } from './moving-average.ts';
import { ageOf } from './period.ts';
import { RecentQuantile } from './quantile.ts';

/** A transfer under way. More calls of either method do nothing. */
export type Transfer = {
  /** The first byte has come. */
  firstByte(): void;
  /** It is over, for better or worse, after this many bytes. */
  ended(bytes: number): void;
};

/** What is known of an upstream's speed, as plain JSON. */
export type SpeedSnapshot = {
  /** Milliseconds to the first byte. */
  readonly firstByte?: AverageSnapshot;
  /** The natural logarithm of bytes per second of one connection. */
  readonly throughput?: AverageSnapshot;
  readonly recentFirstBytes: readonly number[];
};

/** A transfer of fewer bytes says nothing about throughput. */
export const measurableBytes = 64 * 1024;

/** Milliseconds in which a measurement comes to weigh half. */
const halfLife = 5 * 60_000;

/** How quick an upstream is: the time to the first byte, and the throughput of one connection. */
export class Speed {
  readonly #clock: Clock;
  readonly #firstByte: MovingAverage;
  readonly #throughput: MovingAverage;
  readonly #recentFirstBytes = new RecentQuantile({ share: 0.95, kept: 64, needed: 8 });
  #askedSmallAt: number | undefined;
  #askedLargeAt: number | undefined;

  constructor(deps: { clock: Clock }) {
    this.#clock = deps.clock;
    this.#firstByte = new MovingAverage(deps, { halfLife });
    this.#throughput = new MovingAverage(deps, { halfLife });
  }

  /** The usual time to the first byte in milliseconds; `undefined` when not known of late. */
  get firstByteMs(): number | undefined {
    return this.#firstByte.value;
  }

  /** The usual throughput of one connection; `undefined` when not known of late. */
  get bytesPerSecond(): number | undefined {
    const logarithm = this.#throughput.value;
    return logarithm === undefined ? undefined : Math.exp(logarithm);
  }

  /** The time to the first byte that 19 of the last 20 kept, in milliseconds; `undefined` below 8 samples. */
  get usualWorstFirstByte(): number | undefined {
    return this.#recentFirstBytes.value;
  }

  /** Samples of what decides about this size: throughput, or for something small the time to the first byte. */
  samplesFor(bytes: number): number {
    return (bytes >= measurableBytes ? this.#throughput : this.#firstByte).count;
  }

  /** Milliseconds since something of this size was asked for or measured; `Infinity` if never. */
  unusedFor(bytes: number): number {
    const large = bytes >= measurableBytes;
    const now = this.#clock.now();
    const measured = ageOf((large ? this.#throughput : this.#firstByte).at, now);
    return Math.min(measured, ageOf(large ? this.#askedLargeAt : this.#askedSmallAt, now));
  }

  /** Takes note that something of about this size is asked for now. */
  asked(bytes: number): void {
    if (bytes >= measurableBytes) this.#askedLargeAt = this.#clock.now();
    else this.#askedSmallAt = this.#clock.now();
  }

  /** Takes a time to the first byte, unless it is nonsense: whether it did. */
  addFirstByte(ms: number): boolean {
    if (!(ms >= 0 && ms < Infinity)) return false;
    this.#firstByte.add(ms);
    this.#recentFirstBytes.add(ms);
    return true;
  }

  /** Takes what one connection brought, unless it is too little to tell, or nonsense: whether it did. */
  addTransfer(bytes: number, ms: number): boolean {
    if (!(bytes >= measurableBytes && bytes < Infinity && ms < Infinity)) return false;
    // Averaged by its logarithm: one transfer that stalled, or came out of a near cache, is not to drown the rest.
    this.#throughput.add(Math.log((bytes * 1000) / Math.max(1, ms)));
    return true;
  }

  snapshot(): SpeedSnapshot {
    const firstByte = this.#firstByte.snapshot();
    const throughput = this.#throughput.snapshot();
    return {
      ...(firstByte && { firstByte }),
      ...(throughput && { throughput }),
      recentFirstBytes: [...this.#recentFirstBytes.samples],
    };
  }

  /** Takes up what was known; the time since then counts. */
  restore({ firstByte, throughput, recentFirstBytes }: SpeedSnapshot): void {
    this.#firstByte.restore(firstByte);
    this.#throughput.restore(throughput);
    this.#recentFirstBytes.restore(recentFirstBytes);
  }
}
