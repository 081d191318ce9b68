import { abandonOnAbort } from '../../lib/abort.ts';
import type { Semaphore } from '../../lib/concurrency.ts';
import type { Tell } from '../../lib/facts.ts';
import type { Log } from '../../lib/log.ts';
import { IntegrityError } from '../../oci/errors.ts';
import type { FillFiles } from '../../store/disk/fill-files.ts';
import type { StoredBlobs } from '../../store/stored-blobs.ts';
import type { VerifiedDownloads } from '../download/verified-downloads.ts';
import type { Fill } from '../fill/fill.ts';
import type { FillReport, PullFact } from '../pull-facts.ts';
import { imageName, keyOf, type ResolvedRepository } from '../repository.ts';
import { FillWorkerError } from '../threads/fill-errors.ts';
import type { FillSlot, FillWorkers } from '../threads/fill-workers.ts';
import { fillFailure } from './fill-failure.ts';

/** What a fill is run with. */
export type FillRunDeps = {
  readonly blobs: StoredBlobs;
  readonly files: FillFiles;
  readonly workers: FillWorkers;
  readonly downloads: VerifiedDownloads;
  readonly log: Log;
  readonly facts: Tell<PullFact>;
};

/** Workers that may end under one fill before it fails: perhaps it is what ends them. */
const mostWorkers = 3;

/** The work of one fill: it waits its turn, downloads, and stores; or it tells of its failure, and cleans up. */
export class FillRun {
  readonly #deps: FillRunDeps & { readonly semaphore: Semaphore };
  readonly #target: ResolvedRepository;
  readonly #sizeLimit: number;
  readonly #isClosed: () => boolean;
  #slot: FillSlot | undefined;

  /**
   * @param options.target from where it is fetched
   * @param options.sizeLimit bytes that a blob of undeclared size may have
   * @param options.isClosed whether the server is stopping: then what has arrived is kept for its next start
   */
  constructor(
    deps: FillRunDeps & { readonly semaphore: Semaphore },
    options: { target: ResolvedRepository; sizeLimit: number; isClosed: () => boolean },
  ) {
    this.#deps = deps;
    this.#target = options.target;
    this.#sizeLimit = options.sizeLimit;
    this.#isClosed = options.isClosed;
  }

  /** Resolves when the blob is stored; rejects with what went wrong once that is cleaned up. */
  async run(fill: Fill, signal: AbortSignal): Promise<void> {
    const { before } = fill;
    const lease = this.#deps.blobs.lease();
    lease.hold(fill.digest);
    let release: (() => void) | undefined;
    try {
      // Both fills are of one file.
      await abandonOnAbort(endOf(before), signal);
      release = await this.#deps.semaphore.acquire(signal);
      await this.#download(fill, signal);
      await this.#store(fill);
      this.#ended(fill, { result: 'stored', bytes: fill.arrival.size ?? 0 });
    } catch (error) {
      const kept = this.#isClosed();
      this.#fail(fill, error, signal);
      if (release === undefined) await endOf(before);
      else await this.#cleanUp(fill, kept);
      throw error;
    } finally {
      release?.();
      lease.release();
    }
  }

  /** Brings all bytes, and goes on in another worker where one ends meanwhile. */
  async #download(fill: Fill, signal: AbortSignal): Promise<void> {
    const { workers, downloads, files, log } = this.#deps;
    const { digest, arrival } = fill;
    for (let ended = 0; ; ) {
      try {
        const { size = this.#sizeLimit, progress } = arrival;
        const sizeKnown = arrival.size !== undefined;
        const file = { path: files.path(digest), digest, limit: size, sizeKnown, progress };
        this.#slot = await workers.slot(file, signal);
        const found = await this.#slot.open();
        fill.note({ kind: 'opened' });
        arrival.restore(found);
        await downloads.run(fill, this.#target, this.#slot, signal);
        await this.#slot.close().catch(() => undefined);
        return;
      } catch (error) {
        ended += 1;
        if (!(error instanceof FillWorkerError) || ended === mostWorkers || signal.aborted) throw error;
        log.warn({ digest, cause: error.message }, 'blob download goes on in another worker');
        // The map in the file's folder lags behind, and readers were shown what has arrived since.
        await files.saveMap(digest, arrival.arrived().intervals);
      }
    }
  }

  /** Makes a verified file a blob of the store, and one that the repository may read. */
  async #store({ digest, arrival }: Fill): Promise<void> {
    const { blobs, files } = this.#deps;
    await blobs.adopt(digest, files.path(digest), arrival.size ?? 0, keyOf(this.#target));
    await files.remove(digest);
  }

  /** Tells readers, the log and whoever listens that it has failed. */
  #fail(fill: Fill, error: unknown, signal: AbortSignal): void {
    const { digest } = fill;
    const result = error instanceof IntegrityError ? 'corrupt' : signal.aborted ? 'abandoned' : 'failed';
    fill.note({ kind: 'failed', failure: fillFailure(digest, error) });
    const image = imageName(this.#target);
    this.#deps.log.warn({ image, digest, result, cause: String(error) }, 'blob download failed');
    this.#ended(fill, { result });
  }

  #ended({ digest }: Fill, report: FillReport): void {
    this.#deps.facts.tell({ kind: 'fill-ended', digest, report });
  }

  async #cleanUp({ digest }: Fill, kept: boolean): Promise<void> {
    await this.#slot?.close().catch(() => undefined);
    if (!kept) await this.#deps.files.remove(digest).catch(() => undefined);
  }
}

/** Resolves when a fill is over, and what was left of it cleaned up; at once where there is none. */
async function endOf(fill: Fill | undefined): Promise<void> {
  await fill?.done.catch(() => undefined);
}
