import type { WireConnection } from './connection.ts';

type Idle = { connection: WireConnection; timer: NodeJS.Timeout };

/** Idle connections, each kept for the next request to its destination. One that closes meanwhile is dropped. */
export class WirePool {
  readonly #maxIdlePerOrigin: number;
  readonly #idleTimeout: number;
  readonly #idle = new Map<string, Idle[]>();
  #closed = false;

  /**
   * @param options.maxIdlePerOrigin connections kept for one key
   * @param options.idleTimeout milliseconds for which one is kept
   */
  constructor(options: { maxIdlePerOrigin: number; idleTimeout: number }) {
    this.#maxIdlePerOrigin = options.maxIdlePerOrigin;
    this.#idleTimeout = options.idleTimeout;
  }

  /** The connection that was used last for this key, now the caller's; `undefined` when none waits. */
  take(key: string): WireConnection | undefined {
    for (;;) {
      const entry = this.#idle.get(key)?.at(-1);
      if (!entry) return undefined;
      this.#drop(key, entry);
      // One that was just closed has not told of it yet.
      if (!entry.connection.reusable) continue;
      entry.connection.wake();
      return entry.connection;
    }
  }

  /** Keeps a connection for the next request. It is closed when it is not fit for one, or when enough for its key wait. */
  put(key: string, connection: WireConnection): void {
    const waiting = this.#idle.get(key) ?? [];
    if (this.#closed || !connection.reusable || waiting.length >= this.#maxIdlePerOrigin) {
      connection.destroy();
      return;
    }
    const timer = setTimeout(() => connection.destroy(), this.#idleTimeout);
    timer.unref();
    const entry: Idle = { connection, timer };
    this.#idle.set(key, [...waiting, entry]);
    connection.rest(() => this.#drop(key, entry));
  }

  /** Closes every idle connection, and from now on every one that is put back. */
  close(): void {
    this.#closed = true;
    for (const entry of [...this.#idle.values()].flat()) entry.connection.destroy();
  }

  #drop(key: string, entry: Idle): void {
    clearTimeout(entry.timer);
    const rest = (this.#idle.get(key) ?? []).filter((other) => other !== entry);
    if (rest.length === 0) this.#idle.delete(key);
    else this.#idle.set(key, rest);
  }
}
