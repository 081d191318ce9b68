import { abandonOnAbort, TimeoutError } from './abort.ts';

/** How a caller came by a shared result. */
type Joined<T> = { readonly value: T; readonly joined: boolean };

/**
 * Shares work under way: callers of one key while it runs get the same result. The work belongs to none of
 * them: a caller that leaves does not stop it, and only its own deadline does.
 */
export class Flights<T> {
  readonly #flying = new Map<string, Promise<T>>();
  readonly #deadline: number | undefined;
  readonly #ended = new AbortController();

  /** @param options.deadline milliseconds after which the work is aborted; never, unless given */
  constructor(options: { deadline?: number } = {}) {
    this.#deadline = options.deadline;
  }

  /** How many pieces of work are under way. */
  get active(): number {
    return this.#flying.size;
  }

  /** Whether work for `key` is under way. */
  has(key: string): boolean {
    return this.#flying.has(key);
  }

  /**
   * Runs `work` unless it is already running for `key`, and waits for its result. `work` is called before this returns.
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

  /**
   * Aborts all work under way, and what is begun later; resolves once it has ended, however it does.
   * @param reason what the work's signal aborts with
   */
  async close(reason: Error = new TimeoutError('the server is stopping')): Promise<void> {
    this.#ended.abort(reason);
    await Promise.allSettled(this.#flying.values());
  }

  #run(key: string, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const deadline = new AbortController();
    const timer = this.#deadline && setTimeout(() => this.#expire(deadline), this.#deadline);
    const begun = async () => work(AbortSignal.any([deadline.signal, this.#ended.signal]));
    const promise = begun().finally(() => {
      clearTimeout(timer);
      this.#flying.delete(key);
    });
    this.#flying.set(key, promise);
    // Callers may all have left; a failure then has nobody to tell.
    promise.catch(() => undefined);
    return promise;
  }

  #expire(deadline: AbortController): void {
    deadline.abort(new TimeoutError(`no result within ${this.#deadline} ms`));
  }
}
