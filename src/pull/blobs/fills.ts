import { abandonOnAbort } from '../../lib/abort.ts';
import type { Tell } from '../../lib/facts.ts';
import type { Log } from '../../lib/log.ts';
import { Turns } from '../../lib/turns.ts';
import type { Digest } from '../../oci/digest.ts';
import { IntegrityError, OciError } from '../../oci/errors.ts';
import type { FillFiles } from '../../store/disk/fill-files.ts';
import type { StoredBlobs } from '../../store/stored-blobs.ts';
import type { BackgroundBudget } from '../background-budget.ts';
import type { VerifiedDownloads } from '../download/verified-downloads.ts';
import { Fill } from '../fill/fill.ts';
import { failureOf } from '../fill/fill-state.ts';
import type { FillReport, PullFact } from '../pull-facts.ts';
import { imageName, keyOf, type ResolvedRepository } from '../repository.ts';
import type { FillSlot, FillWorkers } from '../threads/fill-workers.ts';
import { fillFailure } from './fill-failure.ts';

/** What fills work with, and whom they tell. */
type FillsDeps = {
  blobs: StoredBlobs;
  files: FillFiles;
  workers: FillWorkers;
  downloads: VerifiedDownloads;
  log: Log;
  facts: Tell<PullFact>;
};

/** The downloads under way: one a digest, however many clients ask for it. */
export class Fills {
  readonly #deps: FillsDeps;
  readonly #options: { patience: number; sizeLimit: number };
  readonly #turns: Turns;
  readonly #running = new Map<Digest, Fill>();
  /** The budgets of the fills that background work began. */
  readonly #budgets = new WeakMap<Fill, BackgroundBudget>();
  #closed = false;

  /**
   * @param options.patience milliseconds that a fill goes on without a reader
   * @param options.sizeLimit bytes that a blob of undeclared size may have
   * @param options.concurrency downloads at once; further ones wait their turn
   */
  constructor(deps: FillsDeps, options: { patience: number; sizeLimit: number; concurrency: number }) {
    this.#deps = deps;
    this.#options = options;
    this.#turns = new Turns({ most: options.concurrency });
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
    const { digest, before } = fill;
    const lease = this.#deps.blobs.lease();
    lease.hold(digest);
    let endTurn: (() => void) | undefined;
    let slot: FillSlot | undefined;
    try {
      // Both fills are of one file.
      await abandonOnAbort(endOf(before), signal);
      endTurn = await this.#turns.take(signal);
      slot = this.#slot(fill);
      await this.#fetch(fill, target, slot, signal);
      await this.#store(fill, target);
      this.#ended(digest, { result: 'stored', bytes: fill.arrival.size ?? 0 });
    } catch (error) {
      // What was under way when the server stops is of use to its next start.
      const kept = this.#closed;
      this.#tell(fill, target, error, signal);
      if (slot === undefined) await endOf(before);
      else await this.#cleanUp(digest, slot, kept);
      throw error;
    } finally {
      endTurn?.();
      lease.release();
      if (this.#running.get(digest) === fill) this.#running.delete(digest);
    }
  }

  #slot({ digest, sizeGiven, arrival }: Fill): FillSlot {
    const { workers, files } = this.#deps;
    const { progress, size } = arrival;
    const limit = size ?? this.#options.sizeLimit;
    return workers.slot({ path: files.path(digest), digest, limit, sizeKnown: sizeGiven, progress });
  }

  async #fetch(fill: Fill, target: ResolvedRepository, slot: FillSlot, signal: AbortSignal): Promise<void> {
    const left = await slot.open();
    fill.note({ kind: 'opened' });
    fill.arrival.restore(left);
    await this.#deps.downloads.run(fill, target, slot, signal);
    await slot.close().catch(() => undefined);
  }

  /** Makes a verified file a blob of the store, and one that the repository may read. */
  async #store({ digest, arrival }: Fill, target: ResolvedRepository): Promise<void> {
    const { blobs, files } = this.#deps;
    await blobs.adopt(digest, files.path(digest), arrival.size ?? 0, keyOf(target));
    await files.remove(digest);
  }

  /** Tells readers, the log and the metrics of a failure. */
  #tell(fill: Fill, target: ResolvedRepository, error: unknown, signal: AbortSignal): void {
    const { digest } = fill;
    const { log } = this.#deps;
    const result = error instanceof IntegrityError ? 'corrupt' : signal.aborted ? 'abandoned' : 'failed';
    fill.note({ kind: 'failed', failure: fillFailure(digest, error) });
    log.warn({ image: imageName(target), digest, result, cause: String(error) }, 'blob download failed');
    this.#ended(digest, { result });
  }

  #ended(digest: Digest, report: FillReport): void {
    this.#deps.facts.tell({ kind: 'fill-ended', digest, report });
  }

  async #cleanUp(digest: Digest, slot: FillSlot, kept: boolean): Promise<void> {
    await slot.close().catch(() => undefined);
    if (!kept) await this.#deps.files.remove(digest).catch(() => undefined);
  }
}

/** Resolves when a fill is over, and what was left of it cleaned up; at once where there is none. */
async function endOf(fill: Fill | undefined): Promise<void> {
  await fill?.done.catch(() => undefined);
}
