import { abandonOnAbort, TimeoutError } from '../../lib/abort.ts';
import type { Digest } from '../../oci/digest.ts';
import { OciError } from '../../oci/errors.ts';
import type { BlobFile } from '../../store/blob-store.ts';
import { Arrival } from './arrival.ts';
import type { Served } from './served.ts';

/** What a fill needs from outside: its download, and a view of the file that grows. */
export type FillWork = {
  /** Downloads, verifies and stores; `signal` aborts it. The fill's size is announced as soon as it is known. */
  run(fill: Fill, signal: AbortSignal): Promise<void>;
  /** Opens the growing file, or the blob that it has become, for reading; `undefined` once it is gone. */
  open(): Promise<BlobFile | undefined>;
};

/** Reads from a fill; `close` must be called exactly once. */
export type FillReader = {
  read(buffer: Buffer, length: number, position: number, signal: AbortSignal): Promise<number>;
  close(): Promise<void>;
};

/**
 * One shared download of one blob. It belongs to nobody: readers come and go, and only when none has been
 * there for a while is it given up. Whatever ends it is told to every reader at once.
 */
export class Fill {
  readonly digest: Digest;
  /** Whether a manifest says how large the blob is; else it is only what an upstream declares. */
  readonly sizeGiven: boolean;
  readonly arrival = new Arrival();
  /** Settles when the blob is stored, or with what went wrong once that is cleaned up. */
  readonly done: Promise<void>;
  /** The upstreams whose bytes have arrived, in the order of their first. */
  readonly upstreams = new Set<string>();
  /** Which of them brought which bytes, as connections end. */
  served: Served[] = [];
  /** Milliseconds from the start to the first byte, once there is one. */
  firstByteMs: number | undefined;
  readonly #work: FillWork;
  readonly #abort = new AbortController();
  readonly #patience: number;
  readonly #sized = Promise.withResolvers<number>();
  readonly #waiting = new Set<{ readonly position: number }>();
  #generation = 0;
  #readers = 0;
  #abandoned: NodeJS.Timeout | undefined;
  #ended = false;
  #failure: Error | undefined;
  #change: Promise<void> | undefined;

  /** @param options.patience milliseconds that the download goes on without a reader */
  constructor(digest: Digest, size: number | undefined, work: FillWork, options: { patience: number }) {
    this.digest = digest;
    this.sizeGiven = size !== undefined;
    this.#work = work;
    this.#patience = options.patience;
    this.#sized.promise.catch(() => undefined);
    if (size !== undefined) this.announceSize(size);
    this.done = this.#run();
    this.done.catch(() => undefined);
    this.#watchReaders();
  }

  /** Says how large the blob is; the first word holds. */
  announceSize(size: number): void {
    this.arrival.announceSize(size);
    this.#sized.resolve(this.arrival.size ?? size);
  }

  /** The blob's size in bytes, once known; rejects with the fill's failure. */
  size(signal: AbortSignal): Promise<number> {
    return abandonOnAbort(this.#sized.promise, signal);
  }

  /** Whether it has failed, though what is left of it is perhaps not yet cleaned up. */
  get failed(): boolean {
    return this.#failure !== undefined;
  }

  /** Whether all bytes are there and verified, though perhaps not yet stored for good. */
  get verified(): boolean {
    return this.arrival.verified;
  }

  /** The positions that readers wait at and that could be shown before the end, in ascending order. */
  get wanted(): readonly number[] {
    const positions = [...this.#waiting].map(({ position }) => position);
    return positions.filter((position) => !this.arrival.withholds(position)).sort((a, b) => a - b);
  }

  /**
   * The bytes so far were wrong and are fetched again: readers that were given some of them are cut off, since
   * nothing can take those back; the others do not notice.
   */
  restart(): void {
    this.#generation += 1;
    this.served = [];
    // Who still waits says so again, unless it was given wrong bytes.
    this.#waiting.clear();
    this.arrival.reset();
  }

  /** Says that it has failed: all readers learn of it at once, and none is shown a byte more. The first word holds. */
  fail(failure: Error): void {
    if (this.#failure !== undefined) return;
    this.#failure = failure;
    this.#sized.reject(failure);
    this.arrival.progress.wake();
  }

  /** Gives the download up. */
  abort(reason: Error): void {
    this.#abort.abort(reason);
  }

  /** Adds a reader. */
  reader(): FillReader {
    this.#readers += 1;
    clearTimeout(this.#abandoned);
    let file: Promise<BlobFile | undefined> | undefined;
    let given: number | undefined;
    const check = () => {
      if (this.#failure !== undefined) throw this.#failure;
      if (given === undefined || given === this.#generation) return;
      throw new Error('the bytes given so far were wrong and are fetched again');
    };
    return {
      read: async (buffer, length, position, signal) => {
        for (;;) {
          const { available, generation } = await this.#available(position, signal, check);
          file ??= this.#work.open();
          const opened = await file;
          if (opened === undefined) return await this.#gone(signal);
          const bytes = await opened.read(buffer, Math.min(length, available), position);
          check();
          if (generation !== this.#generation) continue;
          given = generation;
          return bytes;
        }
      },
      close: async () => {
        this.#readers -= 1;
        this.#watchReaders();
        const opened = await file?.catch(() => undefined);
        await opened?.close();
      },
    };
  }

  /** Waits until the byte at `position` may be read; resolves to how many may be from there, and of which copy. */
  async #available(
    position: number,
    signal: AbortSignal,
    check: () => void,
  ): Promise<{ available: number; generation: number }> {
    const { progress } = this.arrival;
    const waiter = { position };
    try {
      for (;;) {
        check();
        const { epoch } = progress;
        const readable = this.arrival.readable(position);
        if (readable > 0) return { available: readable, generation: this.#generation };
        if (this.#ended) throw new Error('read beyond the end of a fill');
        this.#waiting.add(waiter);
        this.#change ??= progress.changed(epoch).then(() => {
          this.#change = undefined;
        });
        await abandonOnAbort(this.#change, signal);
      }
    } finally {
      this.#waiting.delete(waiter);
    }
  }

  /** There is no file: tells what the fill has come to. */
  async #gone(signal: AbortSignal): Promise<never> {
    await abandonOnAbort(this.done, signal);
    throw new OciError('UNAVAILABLE', `${this.digest} was removed as soon as it was stored: try again`, {
      retryAfter: 1,
    });
  }

  async #run(): Promise<void> {
    try {
      await this.#work.run(this, this.#abort.signal);
    } catch (error) {
      this.fail(error instanceof Error ? error : new Error(String(error)));
      throw this.#failure;
    } finally {
      this.#ended = true;
      clearTimeout(this.#abandoned);
      this.arrival.progress.wake();
    }
  }

  #watchReaders(): void {
    if (this.#readers > 0 || this.#ended) return;
    this.#abandoned = setTimeout(() => {
      this.abort(new TimeoutError('nobody waits for this download any more'));
    }, this.#patience);
    this.#abandoned.unref();
  }
}
