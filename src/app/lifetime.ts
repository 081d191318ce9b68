import { neverAborted, orAfter, TimeoutError } from '../lib/abort.ts';
import type { Log } from '../lib/log.ts';

/** Something to be done when what was opened is closed. */
export type Closer = () => Promise<void> | void;

/** Registers a closer; they run in the opposite order. */
export type OnClose = (closer: Closer) => void;

/** Not everything could be closed; `errors` holds what each closer threw, in the order in which they ran. */
export class CloseError extends AggregateError {
  readonly code = 'CLOSE';
}

/** Milliseconds that a closer gets besides the drain time. */
const closePatience = 30_000;

/** What is open, and how it is closed: once, in the opposite order. */
export class Lifetime {
  readonly #log: Log;
  readonly #patience: number;
  readonly #closers: Closer[] = [];
  #closing: Promise<void> | undefined;
  #closed = false;

  /** @param options.drainTimeout milliseconds that a closer may wait for running answers */
  constructor(deps: { log: Log }, options: { drainTimeout: number }) {
    this.#log = deps.log;
    this.#patience = options.drainTimeout + closePatience;
  }

  /**
   * Registers a closer. One that is registered while others run is run too.
   * @throws Error once everything is closed: nothing may be opened then. The closer has been called.
   */
  readonly onClose: OnClose = (closer) => {
    this.#closers.push(closer);
    if (!this.#closed) return;
    void this.#run();
    throw new Error('what it belongs to was closed while it was being opened');
  };

  /**
   * Closes everything; idempotent. A closer that fails, or takes too long, is logged and keeps no other from its turn.
   * @throws CloseError at the end, when any failed
   */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  /** Closes what was opened before a failure, and throws that failure. What cannot be closed is in the log alone. */
  async closeAfter(failure: unknown): Promise<never> {
    await this.close().catch(() => undefined);
    throw failure;
  }

  async #close(): Promise<void> {
    const errors = await this.#run();
    this.#closed = true;
    if (errors.length === 0) return;
    const causes = errors.map((error) => (error instanceof Error ? error.message : String(error)));
    throw new CloseError(errors, `not everything could be closed: ${causes.join('; ')}`);
  }

  async #run(): Promise<readonly unknown[]> {
    const errors: unknown[] = [];
    for (let closer = this.#closers.pop(); closer !== undefined; closer = this.#closers.pop()) {
      try {
        await orAfter(Promise.resolve(closer()), this.#patience, neverAborted, () => {
          throw new TimeoutError(`something has not closed within ${this.#patience} ms`);
        });
      } catch (error) {
        errors.push(error);
        const cause = error instanceof Error ? (error.stack ?? error.message) : String(error);
        this.#log.error({ cause, code: (error as NodeJS.ErrnoException | undefined)?.code }, 'not closed');
      }
    }
    return errors;
  }
}
