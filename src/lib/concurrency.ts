import { setImmediate as immediately } from 'node:timers/promises';

/** Lets a number of things happen at once. Who comes later waits, in order. */
export class Semaphore {
  readonly #waiting: (() => void)[] = [];
  #free: number;

  /** @param options.most at once; at least 1 */
  constructor(options: { most: number }) {
    this.#free = options.most;
  }

  /**
   * Waits for a place, which is free again once the answer is called. Rejects with the signal's reason when it aborts
   * first.
   */
  async acquire(signal: AbortSignal): Promise<() => void> {
    signal.throwIfAborted();
    if (this.#free > 0) this.#free -= 1;
    else await this.#wait(signal);
    let released = false;
    return () => {
      if (released) return;
      released = true;
      this.#release();
    };
  }

  #wait(signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const onTurn = () => {
        signal.removeEventListener('abort', onAbort);
        resolve();
      };
      const onAbort = () => {
        this.#waiting.splice(this.#waiting.indexOf(onTurn), 1);
        reject(signal.reason);
      };
      this.#waiting.push(onTurn);
      signal.addEventListener('abort', onAbort, { once: true });
    });
  }

  #release(): void {
    const next = this.#waiting.shift();
    if (next === undefined) this.#free += 1;
    else next();
  }
}

/** Does `work` for each item, `most` at once; the first failure is thrown once what was begun has ended. */
export async function eachAtOnce<T>(
  items: readonly T[],
  most: number,
  work: (item: T) => Promise<void>,
): Promise<void> {
  const waiting = [...items];
  const failures: unknown[] = [];
  const worker = async () => {
    for (let item = waiting.shift(); item !== undefined && failures.length === 0; item = waiting.shift()) {
      await work(item).catch((error: unknown) => failures.push(error));
    }
  };
  await Promise.all(Array.from({ length: Math.min(most, items.length) }, worker));
  if (failures.length > 0) throw failures[0];
}

/** Resolves in the next turn of the event loop: whatever else waits for the thread goes first. */
export async function nextTurn(): Promise<void> {
  await immediately();
}

/** Milliseconds for which one piece of work keeps the event loop to itself. */
const sliceMs = 2;

/** A piece of long work, on the main thread. */
export type Slice = {
  /** Whether others are to have their turn now. Costs about 50 ns. */
  readonly over: boolean;
  /** Goes on after the event loop has turned; rejects with the signal's reason when it has aborted. */
  pause(signal: AbortSignal): Promise<void>;
};

/**
 * Cuts long work on the main thread into slices, between which requests are answered. However many pieces of work
 * there are, one of them goes on in each turn of the event loop.
 */
export class Slices {
  readonly #waiting: (() => void)[] = [];
  #scheduled = false;

  /** Begins a piece of work. */
  begin(): Slice {
    let until = performance.now() + sliceMs;
    return {
      get over() {
        return performance.now() >= until;
      },
      pause: async (signal) => {
        await this.#turn();
        signal.throwIfAborted();
        until = performance.now() + sliceMs;
      },
    };
  }

  #turn(): Promise<void> {
    return new Promise((resolve) => {
      this.#waiting.push(resolve);
      this.#schedule();
    });
  }

  #schedule(): void {
    if (this.#scheduled || this.#waiting.length === 0) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      this.#waiting.shift()?.();
      this.#schedule();
    });
  }
}
