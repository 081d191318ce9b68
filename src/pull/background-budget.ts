import { Bandwidth } from '../upstream/wire/bandwidth.ts';

/** Background work wanted another upstream request after its budget was spent. */
export class BudgetSpentError extends Error {
  readonly code = 'BUDGET_SPENT';
}

/**
 * What work that no client waits for may take from upstreams. It travels with the repository that is asked for. So it
 * bounds whatever is begun for that work, and nothing that a client began.
 */
export class BackgroundBudget {
  readonly #requests: number;
  readonly #bandwidth: Bandwidth | undefined;
  #used = 0;

  /**
   * @param options.requests requests it may send; `undefined`: any number
   * @param options.bytesPerSecond what all its downloads together may take; `undefined`: all there is
   */
  constructor(options: { requests: number | undefined; bytesPerSecond: number | undefined }) {
    this.#requests = options.requests ?? Number.POSITIVE_INFINITY;
    this.#bandwidth =
      options.bytesPerSecond === undefined ? undefined : Bandwidth.make(options.bytesPerSecond);
  }

  /** Requests sent so far. */
  get used(): number {
    return this.#used;
  }

  /** Whether nothing more may be asked. */
  get spent(): boolean {
    return this.#used >= this.#requests;
  }

  /** Whether its downloads are held back, so that their speed says nothing about an upstream. */
  get throttled(): boolean {
    return this.#bandwidth !== undefined;
  }

  /** The memories of the bandwidth limits that its connections keep, besides those of the upstream. */
  get bandwidths(): readonly SharedArrayBuffer[] {
    return this.#bandwidth === undefined ? [] : [this.#bandwidth.shared];
  }

  /**
   * Takes account of one request that is about to be sent.
   * @throws BudgetSpentError when all that it may send were sent
   */
  spend(): void {
    if (this.spent) {
      throw new BudgetSpentError(`all ${this.#requests} upstream requests that it may send were sent`);
    }
    this.#used += 1;
  }

  /** A client waits for one of its downloads: nothing is held back until that is `done`. */
  hurry(done: Promise<void>): void {
    const restore = this.#bandwidth?.lift();
    if (restore !== undefined) done.then(restore, restore);
  }
}
