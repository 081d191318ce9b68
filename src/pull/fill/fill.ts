import { abandonOnAbort, TimeoutError } from '../../lib/abort.ts';
import type { Digest } from '../../oci/digest.ts';
import { OciError } from '../../oci/errors.ts';
import type { BlobFile } from '../../store/blob-store.ts';
import { Arrival } from './arrival.ts';
import type { Delivery } from './delivery.ts';
import {
  type FillEvent,
  type FillState,
  failureOf,
  isOver,
  mayGoOn,
  nextFillState,
  shownIn,
} from './fill-state.ts';

/** What a fill needs from outside: its download, and a view of the file that grows. */
export type FillWork = {
  /**
   * Downloads, verifies and stores, and notes each step in the fill; `signal` aborts it. Settles once nothing is under
   * way for the fill.
   */
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
 * One shared download of one blob. It belongs to nobody: readers come and go, and it is given up when there has been
 * none for a while. Whatever ends it is told to every reader at once.
 */
export class Fill {
  readonly digest: Digest;
  /** Whether a manifest says how large the blob is; else it is only what an upstream declares. */
  readonly sizeGiven: boolean;
  readonly arrival = new Arrival();
  /** Resolves when the blob is stored. Rejects with what went wrong as soon as that is known. */
  readonly outcome: Promise<void>;
  /** As `outcome`, but rejects only once what was left of the fill is cleaned up. */
  readonly done: Promise<void>;
  /** The upstreams whose bytes have arrived, in the order of their first. */
  readonly upstreams = new Set<string>();
  /** Which of them brought which bytes of the present copy, as connections end. */
  deliveries: Delivery[] = [];
  /** Milliseconds from the start to the first byte, once there is one. */
  firstByteMs: number | undefined;
  readonly #work: FillWork;
  readonly #abort = new AbortController();
  readonly #patience: number;
  readonly #sized = Promise.withResolvers<number>();
  readonly #outcome = Promise.withResolvers<void>();
  readonly #done = Promise.withResolvers<void>();
  readonly #waiting = new Set<{ readonly position: number }>();
  #state: FillState = { kind: 'made' };
  #before: Fill | undefined;
  #readers = 0;
  #abandoned: NodeJS.Timeout | undefined;
  #change: Promise<void> | undefined;

  /**
   * @param options.size bytes, where a manifest says so
   * @param options.before a failed fill of the same digest that is still being cleaned up
   * @param options.patience milliseconds that the download goes on without a reader
   */
  constructor(
    work: FillWork,
    options: { digest: Digest; size: number | undefined; before?: Fill | undefined; patience: number },
  ) {
    const { digest, size, before, patience } = options;
    this.digest = digest;
    this.#before = before;
    this.sizeGiven = size !== undefined;
    this.outcome = this.#outcome.promise;
    this.done = this.#done.promise;
    this.#work = work;
    this.#patience = patience;
    for (const promise of [this.#sized.promise, this.outcome, this.done]) promise.catch(() => undefined);
    if (size !== undefined) this.announceSize(size);
  }

  /** Begins the work; to be called once. */
  start(): void {
    this.note({ kind: 'started' });
    this.#watchReaders();
    this.#run().then(this.#done.resolve, this.#done.reject);
  }

  /** The fill whose cleaning up it waits for, if there is one. */
  get before(): Fill | undefined {
    return this.#before;
  }

  /** Where it is in its life. */
  get state(): FillState {
    return this.#state;
  }

  /**
   * Takes note of what has happened to it, and tells those whom it concerns.
   * @throws Error when that cannot happen in its state
   */
  note(event: FillEvent): void {
    this.#state = nextFillState(this.#state, event, this.#before?.state);
    if (this.#state.kind === 'filling' || isOver(this.#state)) this.#before = undefined;
    if (event.kind === 'right') this.announceSize(this.arrival.arrived().size);
    else if (event.kind === 'discarded') this.#discard();
    else if (event.kind === 'stored') this.#outcome.resolve();
    else if (event.kind === 'failed') {
      this.#outcome.reject(event.failure);
      this.#sized.reject(event.failure);
    }
    this.arrival.progress.wake();
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

  /** The positions that readers wait at and that could be shown before the end, in ascending order. */
  get wanted(): readonly number[] {
    const positions = [...this.#waiting].map(({ position }) => position);
    return positions.filter((position) => !this.arrival.withholds(position)).sort((a, b) => a - b);
  }

  /** Gives the download up. */
  abort(reason: Error): void {
    this.#abort.abort(reason);
  }

  /** Adds a reader. It is cut off when bytes that it was given turn out to be of no use. */
  reader(): FillReader {
    this.#readers += 1;
    clearTimeout(this.#abandoned);
    let file: Promise<BlobFile | undefined> | undefined;
    let given: number | undefined;
    const check = () => {
      const failure = failureOf(this.#state);
      if (failure !== undefined) throw failure;
      if (given === undefined || mayGoOn(this.#state, given)) return;
      throw new Error('the bytes given so far were wrong and are fetched again');
    };
    return {
      read: async (buffer, length, position, signal) => {
        for (;;) {
          const { available, copy } = await this.#available(position, signal, check);
          file ??= this.#work.open();
          const opened = await file;
          if (opened === undefined) return await this.#gone(signal);
          const bytes = await opened.read(buffer, Math.min(length, available), position);
          check();
          if (!mayGoOn(this.#state, copy)) continue;
          given = copy;
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
  ): Promise<{ available: number; copy: number }> {
    const { progress } = this.arrival;
    const waiter = { position };
    try {
      for (;;) {
        check();
        const { epoch } = progress;
        const state = this.#state;
        const available = this.arrival.readable(position, shownIn(state));
        if (available > 0 && 'copy' in state) return { available, copy: state.copy };
        if (isOver(state)) throw new Error('read beyond the end of a fill');
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
      this.note({ kind: 'stored' });
    } catch (error) {
      const failure = error instanceof Error ? error : new Error(String(error));
      if (failureOf(this.#state) === undefined) this.note({ kind: 'failed', failure });
      this.note({ kind: 'cleaned' });
      throw failureOf(this.#state);
    } finally {
      clearTimeout(this.#abandoned);
    }
  }

  /** Forgets the copy. Whoever still waits says so again, unless it was given bytes of that copy. */
  #discard(): void {
    this.deliveries = [];
    this.#waiting.clear();
    this.arrival.reset();
  }

  #watchReaders(): void {
    if (this.#readers > 0 || isOver(this.#state)) return;
    this.#abandoned = setTimeout(() => {
      this.abort(new TimeoutError('nobody waits for this download any more'));
    }, this.#patience);
    this.#abandoned.unref();
  }
}
