import type { Clock } from '../lib/clock.ts';
import type { Log } from '../lib/log.ts';
import type { Digest } from '../oci/digest.ts';
import { IntegrityError, OciError } from '../oci/errors.ts';
import type { BlobStore } from '../store/blob-store.ts';
import type { FillFiles } from '../store/fill-files.ts';
import type { Metadata } from '../store/metadata.ts';
import { type DownloadPatience, downloadBlob } from './download.ts';
import { Fill } from './fill.ts';
import { type FillSlot, FillStorageError, type FillWorkers } from './fill-workers.ts';
import { imageName, keyOf, type ResolvedRepository } from './registry.ts';

/** What is told of each fill that ended. */
export type FillReport = {
  readonly result: 'stored' | 'failed' | 'corrupt' | 'abandoned';
  readonly bytes: number;
};

/** The downloads under way: one a digest, however many clients ask for it. */
export class Fills {
  readonly #deps: {
    blobs: BlobStore;
    files: FillFiles;
    metadata: Metadata;
    workers: FillWorkers;
    clock: Clock;
    log: Log;
    ended(report: FillReport): void;
  };
  readonly #options: { patience: number; sizeLimit: number; concurrency: number; download: DownloadPatience };
  readonly #running = new Map<Digest, Fill>();
  readonly #queue: (() => void)[] = [];
  #active = 0;
  #closed = false;

  /**
   * @param options.patience milliseconds that a fill goes on without a reader
   * @param options.sizeLimit bytes that a blob of undeclared size may have
   * @param options.concurrency downloads at once; further ones wait their turn
   */
  constructor(
    deps: {
      blobs: BlobStore;
      files: FillFiles;
      metadata: Metadata;
      workers: FillWorkers;
      clock: Clock;
      log: Log;
      ended(report: FillReport): void;
    },
    options: { patience: number; sizeLimit: number; concurrency: number; download: DownloadPatience },
  ) {
    this.#deps = deps;
    this.#options = options;
  }

  /** How many downloads are under way or waiting their turn. */
  get active(): number {
    return this.#running.size;
  }

  /** The fill of a digest under way. */
  find(digest: Digest): Fill | undefined {
    return this.#running.get(digest);
  }

  /** Joins the fill of a digest, or starts it from the registry of `target`. */
  join(
    target: ResolvedRepository,
    digest: Digest,
    size: number | undefined,
  ): { fill: Fill; joined: boolean } {
    const running = this.#running.get(digest);
    if (running !== undefined) return { fill: running, joined: true };
    if (this.#closed)
      throw new OciError('UNAVAILABLE', 'the server is stopping: try again', { retryAfter: 5 });
    const { files, blobs } = this.#deps;
    const fill: Fill = new Fill(
      digest,
      size,
      {
        run: (self, signal) => this.#run(self, target, size, signal),
        open: async () => (await files.open(digest)) ?? (await blobs.open(digest)),
      },
      { patience: this.#options.patience },
    );
    this.#running.set(digest, fill);
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
    target: ResolvedRepository,
    size: number | undefined,
    signal: AbortSignal,
  ): Promise<void> {
    const { digest } = fill;
    // The constructor of Fill calls this before the fill is in the table.
    await Promise.resolve();
    const slot = this.#deps.workers.slot(
      {
        path: this.#deps.files.path(digest),
        digest,
        limit: size ?? this.#options.sizeLimit,
        sizeKnown: size !== undefined,
        progress: fill.progress,
      },
      (learned) => fill.announceSize(learned),
    );
    let known = size;
    fill.size(signal).then(
      (learned) => {
        known = learned;
      },
      () => undefined,
    );
    await this.#turn();
    try {
      await this.#fetch(fill, target, slot, () => known, signal);
      this.#deps.ended({ result: 'stored', bytes: known ?? 0 });
    } catch (error) {
      throw await this.#failed(fill, target, error, signal);
    } finally {
      this.#next();
      this.#running.delete(digest);
    }
  }

  async #fetch(
    fill: Fill,
    target: ResolvedRepository,
    slot: FillSlot,
    size: () => number | undefined,
    signal: AbortSignal,
  ): Promise<void> {
    const { digest } = fill;
    const { blobs, files, metadata, clock } = this.#deps;
    const report = (upstream: string) => {
      fill.upstream = upstream;
    };
    const job = { target, digest, slot, size, report };
    try {
      try {
        await downloadBlob(this.#deps, job, this.#options.download, signal);
      } catch (error) {
        // As long as no reader was shown a byte the wrong copy can be replaced unnoticed.
        if (!(error instanceof IntegrityError) || fill.progress.front > 0) throw error;
        this.#deps.log.warn({ image: imageName(target), ...error }, 'wrong bytes discarded, fetching again');
        await slot.reset();
        await downloadBlob(
          this.#deps,
          { ...job, slot: { ...slot, open: async () => 0 } },
          this.#options.download,
          signal,
        );
      }
    } finally {
      await slot.close().catch(() => undefined);
    }
    const front = fill.progress.front;
    fill.announceSize(front);
    await blobs.adopt(digest, files.path(digest));
    await metadata.putBlob(digest, front, clock.now());
    await metadata.putLink(keyOf(target), digest, front);
  }

  async #failed(fill: Fill, target: ResolvedRepository, error: unknown, signal: AbortSignal): Promise<Error> {
    const { digest } = fill;
    const { files, log, ended } = this.#deps;
    const result = error instanceof IntegrityError ? 'corrupt' : signal.aborted ? 'abandoned' : 'failed';
    if (!this.#closed) await files.remove(digest).catch(() => undefined);
    log.warn({ image: imageName(target), digest, result, cause: String(error) }, 'blob download failed');
    ended({ result, bytes: fill.progress.front });
    if (error instanceof OciError) return error;
    if (error instanceof IntegrityError) {
      return new OciError(
        'UNAVAILABLE',
        `upstream sent wrong bytes for ${digest}; they were discarded: try again`,
        {
          retryAfter: 5,
          cause: error,
        },
      );
    }
    if (error instanceof FillStorageError) {
      const why =
        error.code === 'ENOSPC'
          ? 'the disk of the mirror is full'
          : `the mirror cannot write (${error.code})`;
      return new OciError('UNAVAILABLE', `${why}: free some space, then try again`, {
        retryAfter: 30,
        cause: error,
      });
    }
    return new OciError('UNAVAILABLE', `the download of ${digest} ended: try again`, {
      retryAfter: 5,
      cause: error,
    });
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
