/** Seconds of download left below which another connection is not worth its start. */
const worthwhile = 2;

/** Milliseconds between two measurements: long enough for new connections to show what they bring. */
const settling = 75;

/** Connections after the first step, when the end is far: what upstreams allow is the bound then. */
const firstStep = 8;

/** After a longer pause between two measurements, in milliseconds, this machine is taken to be short of time. */
const late = 60;

/** A thread that is busy for a larger share of the time is slower than the line. */
const overloaded = 0.5;

/** How much faster all connections together must have become for the last step to count as a gain. */
const gain = 1.15;

/** A rate that rises by more than this from one measurement to the next has not found its level yet. */
const rising = 1.25;

/** Milliseconds after which a fill that stopped growing tries again, in case the line has changed. */
const reconsider = 10_000;

/** One measurement of a fill. */
export type GrowthSample = {
  readonly bytes: number;
  readonly left: number;
  readonly busy: boolean;
  readonly utilization: number;
  readonly now: number;
};

/**
 * Decides how many connections a fill may use: one at first, more as long as the last step made the whole faster.
 * A line that carries all it can through one connection therefore keeps one, and a line that throttles each
 * connection gets as many as help. While a connection is still speeding up, or this machine itself is what is slow,
 * nothing is decided.
 */
export class Growth {
  #allowed = 1;
  #previous = 1;
  #holding = false;
  #observedAt: number | undefined;
  #since: number | undefined;
  #bytes = 0;
  #rate: number | undefined;
  #best = 0;

  /** Connections that may be open now. */
  get allowed(): number {
    return this.#allowed;
  }

  /**
   * Takes a measurement and decides; to be called every 25 ms or so.
   * @param bytes downloaded so far by this fill
   * @param left bytes still missing
   * @param busy whether all allowed connections are delivering
   * @param utilization the share of the time in which the thread that reads them had work to do
   * @param now milliseconds
   */
  observe({ bytes, left, busy, utilization, now }: GrowthSample): void {
    const starved =
      utilization > overloaded || (this.#observedAt !== undefined && now - this.#observedAt > late);
    this.#observedAt = now;
    if (!busy || starved || this.#since === undefined) {
      this.#rate = undefined;
      this.#restart(bytes, now);
      return;
    }
    const elapsed = now - this.#since;
    if (elapsed < (this.#holding ? reconsider : settling)) return;
    const last = this.#rate;
    const rate = ((bytes - this.#bytes) * 1000) / elapsed;
    this.#rate = rate;
    this.#restart(bytes, now);
    const steady = this.#allowed > 1 || (last !== undefined && rate <= last * rising);
    if (!steady) return;
    this.#decide(rate, left);
  }

  #decide(rate: number, left: number): void {
    if (rate < this.#best * gain && !this.#holding) {
      // Those that are open finish what they have; none takes their place.
      this.#allowed = this.#previous;
      this.#holding = true;
      return;
    }
    this.#holding = false;
    this.#best = rate;
    this.#previous = this.#allowed;
    if (rate === 0 || left / rate < worthwhile) return;
    // Far from the end a wrong step is cheap and a late one dear, so the first one is wide.
    this.#allowed = this.#allowed === 1 && left / rate > 4 * worthwhile ? firstStep : this.#allowed * 2;
  }

  #restart(bytes: number, now: number): void {
    this.#since = now;
    this.#bytes = bytes;
  }
}
