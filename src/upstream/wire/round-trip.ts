import type { Socket } from 'node:net';
import { type BodyDecoder, bodyDecoder } from './body.ts';
import { isEncoded, MalformedError, parseHead } from './head.ts';
import type { BodySink, WireFailure, WireResponseHead, WireResult } from './messages.ts';
import type { ReadBuffer } from './read-buffer.ts';

/** From this much on, bytes go to the sink at once instead of at the end of the event loop's turn. */
const flushAt = 128 * 1024;

/** How much of a body that the sink did not want is kept. */
const maxCollected = 64 * 1024;

/** The limits of an exchange, in milliseconds. */
export type ExchangeLimits = { readonly headersTimeout: number; readonly stallTimeout: number };

/** How an exchange settled. */
type ExchangeSettled =
  | { kind: 'answered'; result: WireResult; untouched: boolean; keepAlive: boolean }
  | { kind: 'thrown'; error: unknown };

/** What an exchange works with. */
type ExchangeParts = { input: ReadBuffer; socket: Socket; sink: BodySink; limits: ExchangeLimits };

/** One request's response, from the first byte to the last. */
export class WireExchange {
  readonly #parts: ExchangeParts;
  readonly #settle: (outcome: ExchangeSettled) => void;
  #timer: NodeJS.Timeout;
  #flush: NodeJS.Immediate | undefined;
  #head: WireResponseHead | undefined;
  #body: BodyDecoder | undefined;
  #keepAlive = false;
  #collected: Buffer[] | undefined;
  #bytes = 0;
  #touched = false;
  #busy = false;
  #ended: { failure: Error | undefined } | undefined;
  #thrown: { error: unknown } | undefined;
  #over = false;

  constructor(parts: ExchangeParts, settle: (outcome: ExchangeSettled) => void) {
    this.#parts = parts;
    this.#settle = settle;
    this.#timer = setTimeout(() => this.#expired(), parts.limits.headersTimeout);
  }

  /** More bytes are in the read buffer. */
  arrived(): void {
    this.#touched = true;
    if (this.#body) this.#timer.refresh();
    const { input, socket } = this.#parts;
    if (this.#busy) {
      if (input.pending >= flushAt) socket.pause();
    } else if (!this.#body || input.pending >= flushAt) {
      this.#pump();
    } else {
      this.#flush ??= setImmediate(() => this.#pump());
    }
  }

  /** The connection is over, by a failure or in order; what is in the read buffer still counts. */
  end(failure: Error | undefined): void {
    this.#ended ??= { failure };
    this.#pump();
  }

  /** Gives up with an error of the caller's, as soon as the sink has let go of the bytes it holds. */
  fail(error: unknown): void {
    this.#thrown ??= { error };
    this.#parts.socket.destroy();
    if (!this.#busy) this.#finish({ kind: 'thrown', error: this.#thrown.error });
  }

  #pump(): void {
    if (this.#flush) {
      clearImmediate(this.#flush);
      this.#flush = undefined;
    }
    if (this.#busy || this.#over) return;
    try {
      if (!this.#head && !this.#readHead()) {
        if (this.#ended) this.#failed('headers', this.#endReason(), 'the connection ended before an answer');
        return;
      }
      this.#readBody();
    } catch (error) {
      if (error instanceof MalformedError) {
        this.#failed(this.#body ? 'body' : 'headers', 'malformed', error.message);
      } else {
        this.fail(error);
      }
    }
  }

  #readHead(): boolean {
    const { input, sink, limits } = this.#parts;
    const parsed = parseHead(input.view);
    if (!parsed) return false;
    input.consume(parsed.consumed);
    if (isEncoded(parsed.head) && parsed.head.status < 300) {
      throw new MalformedError('the body is compressed although this was not asked for');
    }
    this.#head = parsed.head;
    this.#keepAlive = parsed.keepAlive;
    if (sink.head(parsed.head) === 'collect') this.#collected = [];
    if (this.#over) return false;
    this.#body = bodyDecoder(parsed.framing);
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#expired(), limits.stallTimeout);
    return true;
  }

  #readBody(): void {
    const body = this.#body;
    const head = this.#head;
    if (!body || !head) return;
    const { input } = this.#parts;
    while (!body.done && input.pending > 0) {
      const { data, consumed } = body.take(input.view);
      input.consume(consumed);
      if (data.length > 0 && this.#deliver(data)) return;
      if (consumed === 0) break;
    }
    if (body.done) this.#complete(head, this.#keepAlive && !this.#ended);
    else if (this.#ended) {
      if (body.endsWithConnection && !this.#ended.failure) this.#complete(head, false);
      else this.#failed('body', this.#endReason(), 'the connection ended in the middle of the body');
    }
  }

  /** Hands bytes on; true when the exchange has to wait (or is over). */
  #deliver(data: Buffer): boolean {
    this.#bytes += data.length;
    if (this.#collected) {
      this.#collected.push(Buffer.from(data.subarray(0, maxCollected)));
      if (this.#bytes <= maxCollected || !this.#head) return false;
      this.#complete(this.#head, false);
      return true;
    }
    const taken = this.#handOver(data);
    if (!taken) {
      // A sink may abort its own signal from within.
      if (this.#thrown) this.fail(this.#thrown.error);
      return this.#over;
    }
    this.#busy = true;
    this.#parts.input.lend();
    taken.then(
      () => this.#sinkDone(),
      (error: unknown) => {
        this.#thrown ??= { error };
        this.#sinkDone();
      },
    );
    return true;
  }

  /** Calls the sink; meanwhile an abort waits, because the sink may still return a promise. */
  #handOver(data: Buffer): void | Promise<void> {
    this.#busy = true;
    try {
      return this.#parts.sink.chunk(data);
    } finally {
      this.#busy = false;
    }
  }

  #sinkDone(): void {
    this.#busy = false;
    this.#parts.input.giveBack();
    if (this.#thrown) {
      this.fail(this.#thrown.error);
      return;
    }
    this.#timer.refresh();
    this.#parts.socket.resume();
    this.#pump();
  }

  #complete(head: WireResponseHead, keepAlive: boolean): void {
    const result: WireResult = this.#collected
      ? { kind: 'collected', head, body: Buffer.concat(this.#collected).subarray(0, maxCollected) }
      : { kind: 'complete', head, bytes: this.#bytes };
    this.#finish({ kind: 'answered', result, untouched: false, keepAlive });
  }

  #failed(phase: 'headers' | 'body', reason: WireFailure['reason'], message: string): void {
    // The caller needs the head of an answer that its sink refused; the body may be cut.
    if (this.#collected && this.#head) {
      this.#complete(this.#head, false);
      return;
    }
    const head = this.#head;
    const result: WireFailure = {
      kind: 'failed',
      phase,
      reason,
      ...(head && { head }),
      bytes: this.#bytes,
      message,
    };
    const untouched = !this.#touched && (reason === 'cut' || reason === 'reset');
    this.#finish({ kind: 'answered', result, untouched, keepAlive: false });
  }

  #endReason(): 'cut' | 'reset' {
    return this.#ended?.failure ? 'reset' : 'cut';
  }

  #expired(): void {
    if (this.#busy) this.#timer.refresh();
    else if (this.#body) this.#failed('body', 'stall', 'no more of the body came in time');
    else this.#failed('headers', 'timeout', 'no answer came in time');
  }

  #finish(outcome: ExchangeSettled): void {
    if (this.#over) return;
    this.#over = true;
    clearTimeout(this.#timer);
    if (this.#flush) clearImmediate(this.#flush);
    this.#settle(outcome);
  }
}
