import { Semaphore } from '../../lib/concurrency.ts';
import type { Digest } from '../../oci/digest.ts';
import { OciError } from '../../oci/errors.ts';
import type { BackgroundBudget } from '../background-budget.ts';
import { Fill } from '../fill/fill.ts';
import { failureOf } from '../fill/fill-state.ts';
import type { ResolvedRepository } from '../repository.ts';
import { FillRun, type FillRunDeps } from './fill-run.ts';

/** The downloads under way: one a digest, however many clients ask for it. */
export class Fills {
  readonly #deps: FillRunDeps;
  readonly #options: { patience: number; sizeLimit: number };
  readonly #semaphore: Semaphore;
  readonly #running = new Map<Digest, Fill>();
  /** The budgets of the fills that background work began. */
  readonly #budgets = new WeakMap<Fill, BackgroundBudget>();
  #closed = false;

  /**
   * @param options.patience milliseconds that a fill goes on without a reader
   * @param options.sizeLimit bytes that a blob of undeclared size may have
   * @param options.concurrency downloads at once; further ones wait their turn
   */
  constructor(deps: FillRunDeps, options: { patience: number; sizeLimit: number; concurrency: number }) {
    this.#deps = deps;
    this.#options = options;
    this.#semaphore = new Semaphore({ most: options.concurrency });
  }

  /** How many downloads are under way or waiting their turn. */
  get active(): number {
    return this.#running.size;
  }

  /** The fill of a digest under way; one that has failed until it is cleaned up. */
  find(digest: Digest): Fill | undefined {
    return this.#running.get(digest);
  }

  /**
   * Joins the fill of a digest, or starts it from the registry of `target`. Nobody joins one that has failed: another
   * begins as soon as that is cleaned up.
   * @throws BudgetSpentError when it is for background work that may start none
   */
  join(
    target: ResolvedRepository,
    digest: Digest,
    size: number | undefined,
  ): { fill: Fill; joined: boolean } {
    const { budget } = target;
    const before = this.#running.get(digest);
    if (before !== undefined && failureOf(before.state) === undefined) {
      // A client waits for it from here on, so that the limits of background work do not hold for it.
      if (budget === undefined) this.#budgets.get(before)?.hurry(before.done);
      return { fill: before, joined: true };
    }
    if (this.#closed)
      throw new OciError('UNAVAILABLE', 'the server is stopping: try again', { retryAfter: 5 });
    budget?.spend();
    const { files, blobs } = this.#deps;
    const fill = new Fill(
      {
        run: (self, signal) => this.#run(self, target, signal),
        open: async () => (await files.open(digest)) ?? (await blobs.open(digest)),
      },
      { digest, size, before, patience: this.#options.patience },
    );
    this.#running.set(digest, fill);
    if (budget !== undefined) this.#budgets.set(fill, budget);
    fill.start();
    return { fill, joined: false };
  }

  /** Ends all fills; what they have so far stays on disk for the next start. */
  async close(): Promise<void> {
    this.#closed = true;
    const ending = [...this.#running.values()];
    for (const fill of ending)
      fill.abort(new OciError('UNAVAILABLE', 'the server is stopping', { retryAfter: 5 }));
    await Promise.allSettled(ending.map((fill) => fill.done));
  }

  async #run(fill: Fill, target: ResolvedRepository, signal: AbortSignal): Promise<void> {
    const { sizeLimit } = this.#options;
    const deps = { ...this.#deps, semaphore: this.#semaphore };
    try {
      await new FillRun(deps, { target, sizeLimit, isClosed: () => this.#closed }).run(fill, signal);
    } finally {
      if (this.#running.get(fill.digest) === fill) this.#running.delete(fill.digest);
    }
  }
}
