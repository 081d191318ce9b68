import type { Clock } from '../../lib/clock.ts';
import type { Tell } from '../../lib/facts.ts';
import type { Log } from '../../lib/log.ts';
import type { Digest } from '../../oci/digest.ts';
import { IntegrityError, OciError } from '../../oci/errors.ts';
import type { BlobStore } from '../../store/blob-store.ts';
import type { FillFiles } from '../../store/disk/fill-files.ts';
import type { Metadata } from '../../store/metadata.ts';
import type { BackgroundBudget } from '../background-budget.ts';
import type { VerifiedDownloads } from '../download/verified-downloads.ts';
import { Fill } from '../fill/fill.ts';
import type { FillReport, PullFact } from '../pull-facts.ts';
import { imageName, keyOf, type ResolvedRepository } from '../repository.ts';
import type { FillSlot, FillWorkers } from '../threads/fill-workers.ts';
import { fillFailure } from './fill-failure.ts';

/** What fills work with, and whom they tell. */
type FillsDeps = {
  blobs: BlobStore;
  files: FillFiles;
  metadata: Pick<Metadata, 'blobs' | 'links'>;
  workers: FillWorkers;
  downloads: VerifiedDownloads;
  clock: Clock;
  log: Log;
  facts: Tell<PullFact>;
};

/** The downloads under way: one a digest, however many clients ask for it. */
export class Fills {
  readonly #deps: FillsDeps;
  readonly #options: { patience: number; sizeLimit: number; concurrency: number };
  readonly #running = new Map<Digest, Fill>();
  /** The budgets of the fills that background work began. */
  readonly #budgets = new WeakMap<Fill, BackgroundBudget>();
  readonly #queue: (() => void)[] = [];
  #active = 0;
  #closed = false;

  /**
   * @param options.patience milliseconds that a fill goes on without a reader
   * @param options.sizeLimit bytes that a blob of undeclared size may have
   * @param options.concurrency downloads at once; further ones wait their turn
   */
  constructor(deps: FillsDeps, options: { patience: number; sizeLimit: number; concurrency: number }) {
    this.#deps = deps;
    this.#options = options;
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
    const running = this.#running.get(digest);
    if (running !== undefined && !running.failed) {
      // A client waits for it from here on, so that the limits of background work do not hold for it.
      if (budget === undefined) this.#budgets.get(running)?.hurry(running.done);
      return { fill: running, joined: true };
    }
    if (this.#closed)
      throw new OciError('UNAVAILABLE', 'the server is stopping: try again', { retryAfter: 5 });
    budget?.spend();
    const { files, blobs } = this.#deps;
    const fill: Fill = new Fill(
      digest,
      size,
      {
        run: (self, signal) => this.#run(self, { target, size, before: running?.done }, signal),
        open: async () => (await files.open(digest)) ?? (await blobs.open(digest)),
      },
      { patience: this.#options.patience },
    );
    this.#running.set(digest, fill);
    if (budget !== undefined) this.#budgets.set(fill, budget);
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

  async #run(
    fill: Fill,
    {
      target,
      size,
      before,
    }: { target: ResolvedRepository; size: number | undefined; before: Promise<void> | undefined },
    signal: AbortSignal,
  ): Promise<void> {
    const { digest } = fill;
    const { workers, files } = this.#deps;
    // The constructor of Fill calls this before the fill is in the table; and both fills are of one file.
    await before?.catch(() => undefined);
    const slot = workers.slot({
      path: files.path(digest),
      digest,
      limit: size ?? this.#options.sizeLimit,
      sizeKnown: size !== undefined,
      progress: fill.arrival.progress,
    });
    await this.#turn();
    try {
      await this.#fetch(fill, target, slot, signal);
      this.#ended(digest, { result: 'stored', bytes: fill.arrival.size ?? 0 });
    } catch (error) {
      await this.#failed(fill, target, { error, slot, signal });
      throw error;
    } finally {
      this.#next();
      if (this.#running.get(digest) === fill) this.#running.delete(digest);
    }
  }

  async #fetch(fill: Fill, target: ResolvedRepository, slot: FillSlot, signal: AbortSignal): Promise<void> {
    const { digest, arrival } = fill;
    const { blobs, files, metadata, clock, downloads } = this.#deps;
    // It may have waited its turn for long.
    signal.throwIfAborted();
    arrival.restore(await slot.open());
    await downloads.run(fill, target, slot, signal);
    await slot.close().catch(() => undefined);
    const size = arrival.size ?? 0;
    fill.announceSize(size);
    await blobs.adopt(digest, files.path(digest));
    await files.remove(digest);
    await metadata.blobs.put(digest, size, clock.now());
    await metadata.links.put(keyOf(target), digest, size);
  }

  /** Tells of a failure whom it concerns, and only then cleans up. */
  async #failed(
    fill: Fill,
    target: ResolvedRepository,
    { error, slot, signal }: { error: unknown; slot: FillSlot; signal: AbortSignal },
  ): Promise<void> {
    const { digest } = fill;
    const { files, log } = this.#deps;
    const result = error instanceof IntegrityError ? 'corrupt' : signal.aborted ? 'abandoned' : 'failed';
    // What was under way when the server stops is of use to its next start.
    const kept = this.#closed;
    fill.fail(fillFailure(digest, error));
    log.warn({ image: imageName(target), digest, result, cause: String(error) }, 'blob download failed');
    this.#ended(digest, { result });
    await slot.close().catch(() => undefined);
    if (!kept) await files.remove(digest).catch(() => undefined);
  }

  #ended(digest: Digest, report: FillReport): void {
    this.#deps.facts.tell({ kind: 'fill-ended', digest, report });
  }

  #turn(): Promise<void> {
    if (this.#active < this.#options.concurrency) {
      this.#active += 1;
      return Promise.resolve();
    }
    return new Promise((resolve) => this.#queue.push(resolve));
  }

  #next(): void {
    const waiting = this.#queue.shift();
    if (waiting === undefined) this.#active -= 1;
    else waiting();
  }
}
