import { abandonOnAbort, TimeoutError } from '../lib/abort.ts';
import type { Digest } from '../oci/digest.ts';
import type { BlobFile } from '../store/blob-store.ts';
import { FillProgress } from './fill-messages.ts';

/** What a fill needs from outside: its download, and a view of the file that grows. */
export type FillWork = {
  /** Downloads, verifies and stores; `signal` aborts it. The fill's size is announced as soon as it is known. */
  run(fill: Fill, signal: AbortSignal): Promise<void>;
  /** Opens the growing file for reading. */
  open(): Promise<BlobFile | undefined>;
};

/**
 * One shared download of one blob. It belongs to nobody: readers come and go, and only when none has been
 * there for a while is it given up. Whatever ends it is told to every reader at once.
 */
export class Fill {
  readonly digest: Digest;
  readonly progress = new FillProgress();
  /** Settles when the blob is stored, or with what went wrong. */
  readonly done: Promise<void>;
  /** The upstream whose bytes are arriving. */
  upstream: string | undefined;
  readonly #work: FillWork;
  readonly #abort = new AbortController();
  readonly #patience: number;
  readonly #sized = Promise.withResolvers<number>();
  #size: number | undefined;
  #readers = 0;
  #abandoned: NodeJS.Timeout | undefined;
  #ended = false;
  #failure: Error | undefined;
  #change: Promise<void> | undefined;

  /** @param options.patience milliseconds that the download goes on without a reader */
  constructor(digest: Digest, size: number | undefined, work: FillWork, options: { patience: number }) {
    this.digest = digest;
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
    this.#size ??= size;
    this.#sized.resolve(this.#size);
  }

  /** The blob's size in bytes, once known; rejects with the fill's failure. */
  size(signal: AbortSignal): Promise<number> {
    return abandonOnAbort(this.#sized.promise, signal);
  }

  /** Whether all bytes are there and verified, though perhaps not yet stored for good. */
  get verified(): boolean {
    return this.#size !== undefined && this.progress.front === this.#size;
  }

  /** Gives the download up. */
  abort(reason: Error): void {
    this.#abort.abort(reason);
  }

  /** Adds a reader; its `close` must be called exactly once. */
  reader(): Pick<BlobFile, 'close'> & { read: (...args: ReadArguments) => Promise<number> } {
    this.#readers += 1;
    clearTimeout(this.#abandoned);
    let file: Promise<BlobFile | undefined> | undefined;
    return {
      read: async (buffer, length, position, signal) => {
        const available = await this.#available(position, signal);
        file ??= this.#work.open();
        const opened = await file;
        if (opened === undefined) throw this.#failure ?? new Error('the fill has no file');
        return opened.read(buffer, Math.min(length, available), position);
      },
      close: async () => {
        this.#readers -= 1;
        this.#watchReaders();
        const opened = await file?.catch(() => undefined);
        await opened?.close();
      },
    };
  }

  /** Waits until the byte at `position` may be read; resolves to how many may be from there. */
  async #available(position: number, signal: AbortSignal): Promise<number> {
    for (;;) {
      if (this.#failure !== undefined) throw this.#failure;
      const front = this.progress.front;
      if (front > position) return front - position;
      if (this.#ended) throw new Error('read beyond the end of a fill');
      this.#change ??= this.progress.changed(front).then(() => {
        this.#change = undefined;
      });
      await abandonOnAbort(this.#change, signal);
    }
  }

  async #run(): Promise<void> {
    try {
      await this.#work.run(this, this.#abort.signal);
    } catch (error) {
      this.#failure = error instanceof Error ? error : new Error(String(error));
      this.#sized.reject(this.#failure);
      throw this.#failure;
    } finally {
      this.#ended = true;
      clearTimeout(this.#abandoned);
      this.progress.wake();
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

type ReadArguments = [buffer: Buffer, length: number, position: number, signal: AbortSignal];
