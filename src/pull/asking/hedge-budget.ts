/** Extra requests allowed for each one sent. */
const share = 0.03;

/** Extra requests that may be saved up. */
const most = 3;

/** Keeps second requests, sent because the first is late, to a few in a hundred. */
export class HedgeBudget {
  #saved = 1;

  /** A request was sent. */
  sent(): void {
    this.#saved = Math.min(most, this.#saved + share);
  }

  /** Takes leave for one extra request; `false` when there is none. */
  take(): boolean {
    if (this.#saved < 1) return false;
    this.#saved -= 1;
    return true;
  }
}
