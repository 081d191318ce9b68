import type { Socket } from 'node:net';
import type { BodySink, WireResult } from './messages.ts';
import { ReadBuffer } from './read-buffer.ts';
import { type ExchangeLimits, WireExchange } from './round-trip.ts';

/** The read buffer of a socket, in bytes: at first, and on a line that keeps filling it. */
const bufferSize = { first: 256 * 1024, most: 1024 * 1024 };

/** The outcome of an exchange; `untouched` when the connection died before one byte of an answer. */
type ExchangeOutcome = { result: WireResult; untouched: boolean };

/** One socket and the exchange that runs on it; at most one at a time. */
export class WireConnection {
  readonly #input = new ReadBuffer(bufferSize.first, bufferSize.most);
  #socket: Socket | undefined;
  #exchange: WireExchange | undefined;
  #failure: Error | undefined;
  #ended = false;
  #onDead: (() => void) | undefined;
  #clean = false;

  /** For `net.connect` and `tls.connect`: reads go straight into this connection's buffer. */
  readonly onread = {
    buffer: (): Buffer => this.#input.room(),
    callback: (count: number): boolean => {
      this.#input.wrote(count);
      this.#arrived();
      return true;
    },
  };

  /** Takes over a connected socket. `copying`: it was not opened with {@link onread}, so its data events are read. */
  attach(socket: Socket, copying: boolean): void {
    this.#socket = socket;
    if (copying) {
      socket.on('data', (bytes: Buffer) => {
        this.#input.append(bytes);
        this.#arrived();
      });
    }
    socket.on('end', () => this.#over());
    socket.on('error', (error) => {
      this.#failure ??= error;
    });
    socket.on('close', () => this.#over());
  }

  /** Whether the last exchange left the connection fit for another. */
  get reusable(): boolean {
    return this.#clean && !this.#ended && this.#input.pending === 0;
  }

  /** Marks the connection as idle: it no longer keeps the process alive, and `onDead` is called when it ends. */
  rest(onDead: () => void): void {
    this.#onDead = onDead;
    this.#socket?.unref();
  }

  /** Undoes {@link rest}. */
  wake(): void {
    this.#onDead = undefined;
    this.#socket?.ref();
  }

  destroy(): void {
    this.#ended = true;
    this.#socket?.destroy();
  }

  /** Sends `request` and hands its response to `sink`. Rejects with the signal's reason or what the sink threw. */
  exchange(
    request: string,
    limits: ExchangeLimits,
    sink: BodySink,
    signal: AbortSignal,
  ): Promise<ExchangeOutcome> {
    const socket = this.#socket;
    if (!socket) throw new Error('the connection is not open');
    this.#clean = false;
    return new Promise((resolve, reject) => {
      const onAbort = () => exchange.fail(signal.reason);
      const exchange = new WireExchange({ input: this.#input, socket, sink, limits }, (outcome) => {
        signal.removeEventListener('abort', onAbort);
        this.#exchange = undefined;
        this.#clean = outcome.kind === 'answered' && outcome.keepAlive;
        if (!this.#clean) this.destroy();
        if (outcome.kind === 'answered') resolve({ result: outcome.result, untouched: outcome.untouched });
        else reject(outcome.error);
      });
      this.#exchange = exchange;
      if (signal.aborted) onAbort();
      else signal.addEventListener('abort', onAbort, { once: true });
      if (this.#ended) exchange.end(this.#failure);
      else socket.write(request, 'latin1');
    });
  }

  #arrived(): void {
    if (this.#exchange) this.#exchange.arrived();
    else this.destroy();
  }

  #over(): void {
    this.#ended = true;
    this.#exchange?.end(this.#failure);
    this.#onDead?.();
    this.#socket?.destroy();
  }
}
