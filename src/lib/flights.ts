import { abandonOnAbort, TimeoutError } from './abort.ts';

/** How a caller came by a shared result. */
export type Joined<T> = { readonly value: T; readonly joined: boolean };

/**
 * Shares work under way: callers of one key while it runs get the same result. The work belongs to none of
 * them: a caller that leaves does not stop it, and only its own deadline does.
 */
export class Flights<T> {
  readonly #flying = new Map<string, Promise<T>>();
  readonly #deadline: number;
  readonly #ended = new AbortController();

  /** @param options.deadline milliseconds after which the work is aborted */
  constructor(options: { deadline: number }) {
    this.#deadline = options.deadline;
  }

  /**
   * Runs `work` unless it is already running for `key`, and waits for its result.
   * Rejects with the work's own failure, or with the signal's reason when the caller leaves first.
   */
  async join(
    key: string,
    work: (signal: AbortSignal) => Promise<T>,
    signal: AbortSignal,
  ): Promise<Joined<T>> {
    const flying = this.#flying.get(key);
    if (flying !== undefined) return { value: await abandonOnAbort(flying, signal), joined: true };
    const started = this.#run(key, work);
    return { value: await abandonOnAbort(started, signal), joined: false };
  }

  /** Aborts all work under way. */
  close(): void {
    this.#ended.abort(new TimeoutError('the server is stopping'));
  }

  #run(key: string, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const deadline = new AbortController();
    const timer = setTimeout(() => {
      deadline.abort(new TimeoutError(`no result within ${this.#deadline} ms`));
    }, this.#deadline);
    const promise = work(AbortSignal.any([deadline.signal, this.#ended.signal])).finally(() => {
      clearTimeout(timer);
      this.#flying.delete(key);
    });
    this.#flying.set(key, promise);
    // Callers may all have left; a failure then has nobody to tell.
    promise.catch(() => undefined);
    return promise;
  }
}
