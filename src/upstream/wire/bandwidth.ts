type Now = () => bigint;

/** Nanoseconds by which a budget may run ahead of its rate. */
const burst = 100_000_000n;

const second = 1_000_000_000n;
const millisecond = 1_000_000n;

const nextFree = 0;
const rate = 1;
const lifts = 2;
const slots = 3;

/**
 * A budget of bytes per second that threads keep together through one piece of memory, without messages: GCRA as
 * virtual scheduling (ITU-T I.371). Every reservation moves the time at which the budget is next free, so nothing
 * is counted that could be reset or drift, waits come in the order of the reservations, and a wait that lasts too
 * long is made up for by shorter ones.
 *
 * Who goes on only after the wait returned keeps, over any span, to the rate times the span plus a burst: what the
 * rate yields in 100 ms, or one reservation if that is more.
 */
export class Bandwidth {
  /** All there is to know of the budget: post it to a thread and {@link Bandwidth.attach} there. */
  readonly shared: SharedArrayBuffer;
  readonly #cells: BigInt64Array<SharedArrayBuffer>;
  readonly #rate: bigint;
  readonly #now: Now;
  /** What rounding to whole nanoseconds left of the cost so far, in nanoseconds times the rate. */
  #owed = 0n;

  /** Use {@link Bandwidth.make} or {@link Bandwidth.attach}. */
  constructor(deps: { now: Now }, shared: SharedArrayBuffer) {
    this.shared = shared;
    this.#cells = new BigInt64Array(shared);
    this.#rate = Atomics.load(this.#cells, rate);
    this.#now = deps.now;
  }

  /**
   * A new budget, its burst unspent.
   * @param now nanoseconds of a monotonic clock, the same for all threads
   * @throws RangeError unless `bytesPerSecond` is a whole number of at least 1
   */
  static make(bytesPerSecond: number, now: Now = process.hrtime.bigint): Bandwidth {
    if (!Number.isSafeInteger(bytesPerSecond) || bytesPerSecond < 1) {
      throw new RangeError('a bandwidth is a whole number of bytes per second, at least 1');
    }
    const shared = new SharedArrayBuffer(slots * BigInt64Array.BYTES_PER_ELEMENT);
    const cells = new BigInt64Array(shared);
    cells[rate] = BigInt(bytesPerSecond);
    cells[nextFree] = now();
    return new Bandwidth({ now }, shared);
  }

  /** The budget whose memory is `shared`, from {@link Bandwidth.shared} of this or another thread. */
  static attach(shared: SharedArrayBuffer, now: Now = process.hrtime.bigint): Bandwidth {
    return new Bandwidth({ now }, shared);
  }

  /** Bytes per second. */
  get bytesPerSecond(): number {
    return Number(this.#rate);
  }

  /**
   * Takes `bytes` (a whole number) out of the budget, for good.
   * @returns whole milliseconds to wait before going on; 0 within the burst
   * @throws RangeError when `bytes` is negative or not whole
   */
  reserve(bytes: number): number {
    const cost = this.#cost(bytes);
    if (this.lifted) return 0;
    const now = this.#now();
    for (let seen = Atomics.load(this.#cells, nextFree); ; ) {
      const free = (seen > now ? seen : now) + cost;
      const found = Atomics.compareExchange(this.#cells, nextFree, seen, free);
      if (found === seen) return wholeMilliseconds(free - burst - now);
      seen = found;
    }
  }

  /** Whether everything is let through now. */
  get lifted(): boolean {
    return Atomics.load(this.#cells, lifts) > 0n;
  }

  /**
   * Lets everything through, in every thread, until the returned function is called; what went through is not made
   * up for. Several may lift it at once.
   */
  lift(): () => void {
    Atomics.add(this.#cells, lifts, 1n);
    let lifted = true;
    return () => {
      if (lifted) Atomics.sub(this.#cells, lifts, 1n);
      lifted = false;
    };
  }

  /** Nanoseconds that `bytes` take. The remainder is carried over, so that the sum is right to the nanosecond. */
  #cost(bytes: number): bigint {
    if (!Number.isSafeInteger(bytes) || bytes < 0) throw new RangeError('only whole bytes can be reserved');
    const owed = this.#owed + BigInt(bytes) * second;
    this.#owed = owed % this.#rate;
    return owed / this.#rate;
  }
}

/**
 * Takes `bytes` out of every budget, such as an upstream's and that of all together.
 * @returns what tells, so many milliseconds later, how many are still to be waited: the longest wait of those budgets
 *   that are not lifted by then
 * @throws RangeError when `bytes` is negative or not whole
 */
export function reserveAll(bandwidths: readonly Bandwidth[], bytes: number): (elapsed: number) => number {
  const holds = bandwidths.map((bandwidth) => ({ bandwidth, wait: bandwidth.reserve(bytes) }));
  return (elapsed) => {
    const waits = holds.map(({ bandwidth, wait }) => (bandwidth.lifted ? 0 : wait - elapsed));
    return Math.ceil(Math.max(0, ...waits));
  };
}

/** Rounded up: a wait cut short would let more through than the rate. */
function wholeMilliseconds(nanoseconds: bigint): number {
  return nanoseconds <= 0n ? 0 : Number((nanoseconds + millisecond - 1n) / millisecond);
}
