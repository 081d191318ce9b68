/** Seconds of download left below which another connection is not worth its start. */
const worthwhile = 2;

/** Milliseconds between two decisions: long enough for new connections to show what they bring. */
const settling = 100;

/** How much faster all connections together must have become for the last step to count as a gain. */
const gain = 1.15;

/** Milliseconds after which a fill that stopped growing tries again, in case the line has changed. */
const reconsider = 10_000;

/**
 * Decides how many connections a fill may use: one at first, more as long as the last step made the whole faster.
 * A line that carries all it can through one connection therefore keeps one, and a line that throttles each
 * connection gets as many as help.
 */
export class Growth {
  #allowed = 1;
  #since: number | undefined;
  #bytes = 0;
  #rate = 0;
  #best = 0;
  #previous = 1;
  #holding = false;

  /** Connections that may be open now. */
  get allowed(): number {
    return this.#allowed;
  }

  /** Bytes a second of all connections together, as last measured. */
  get rate(): number {
    return this.#rate;
  }

  /**
   * Takes a measurement and decides; to be called often.
   * @param bytes downloaded so far by this fill
   * @param left bytes still missing
   * @param busy whether all allowed connections are delivering
   * @param now milliseconds
   */
  observe({ bytes, left, busy, now }: { bytes: number; left: number; busy: boolean; now: number }): void {
    if (!busy || this.#since === undefined) {
      if (!busy || bytes > 0) this.#restart(bytes, now);
      return;
    }
    const elapsed = now - this.#since;
    if (elapsed < settling) return;
    const rate = ((bytes - this.#bytes) * 1000) / elapsed;
    this.#rate = rate;
    if (this.#holding && elapsed < reconsider) return;
    this.#restart(bytes, now);
    const gained = rate >= this.#best * gain;
    if (!gained && !this.#holding) {
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
    this.#allowed = this.#allowed === 1 && left / rate > 5 * worthwhile ? 4 : this.#allowed * 2;
  }

  #restart(bytes: number, now: number): void {
    this.#since = now;
    this.#bytes = bytes;
  }
}
