import { type Gate, makeGate, within } from './gate.ts';
import { type JournalEntry, type JournalFilter, matches } from './journal.ts';

/** A byte of a representation: its offset, or how much of the whole lies before it. */
export type Offset = number | `${number}%`;

/** The offset in a representation of `size` bytes. */
export function offsetIn(size: number, offset: Offset): number {
  if (typeof offset === 'number') return offset;
  return Math.floor((size * Number(offset.slice(0, -1))) / 100);
}

/**
 * What a fake server does wrong, and to which requests.
 * Offsets are absolute in the representation, so that `cutAt` cuts a resumed download at the same byte again.
 */
export type Fault = {
  /** The requests meant, all by default. Authentication challenges are never matched. */
  readonly match?: JournalFilter;
  /** Lets this many matching requests pass first. */
  readonly after?: number;
  /** How many requests it applies to; for ever by default. */
  readonly times?: number;
  readonly status?: number;
  /** Headers set beside the usual ones; `undefined` removes one. */
  readonly headers?: Readonly<Record<string, string | undefined>>;
  readonly body?: string | Buffer;
  /** Waits before the status line until the script is released. */
  readonly hold?: boolean;
  /** Never answers and keeps the connection open. */
  readonly hang?: boolean;
  /** Resets the connection instead of answering. */
  readonly reset?: boolean;
  /** Closes the connection once this many bytes from the start of the body were sent. */
  readonly cutAt?: Offset;
  /** As `cutAt`, and with it the whole server is gone: other connections are reset, new ones refused. */
  readonly dieAt?: Offset;
  /** Closes the connection once this many bytes of this very answer were sent. */
  readonly cutAfter?: number;
  /** Waits at this byte of the body until the script is released. */
  readonly stallAt?: Offset;
  /** Flips the byte at this offset. */
  readonly corruptAt?: Offset;
  /** Ends the body here, framing and `Content-Length` correct: the upstream believes that this is all. */
  readonly truncateTo?: Offset;
  /** Answers 200 with the whole body to a Range request. */
  readonly noRange?: boolean;
  /** Leaves `Content-Length` out (chunked transfer coding). */
  readonly chunked?: boolean;
  /** Paces each body with a timer. */
  readonly bytesPerSecond?: number;
  /** Paces all bodies that the fault applies to together. */
  readonly totalBytesPerSecond?: number;
  /** Answers 307 to this URL. */
  readonly redirectTo?: string;
};

/** A fault in place. */
export type Script = {
  readonly fault: Fault;
  readonly gate: Gate;
  /** How many requests it was applied to so far. */
  readonly hits: number;
  /** Settles when a request first waits at `hold`, `hang` or `stallAt`. */
  reached(): Promise<void>;
  /** Lets the waiting requests go on, those to come as well. */
  release(): void;
  /** Takes the fault away for requests to come. */
  remove(): void;
};

/** The faults of one server; the latest that matches wins. */
export class Faults {
  #scripts: ScriptState[] = [];

  /** Puts a fault in place. */
  add(fault: Fault): Script {
    const script = new ScriptState(fault, () => {
      this.#scripts = this.#scripts.filter((other) => other !== script);
    });
    this.#scripts.push(script);
    return script;
  }

  /** The fault that applies to this request, if any; counts the request against it. */
  take(entry: JournalEntry): ScriptState | undefined {
    const applying = this.#scripts.filter((script) => script.sees(entry)).at(-1);
    if (applying) applying.hits += 1;
    return applying;
  }

  /** Takes all faults away and releases what waits. */
  clear(): void {
    for (const script of this.#scripts.splice(0)) script.release();
  }
}

/** A {@link Script} as the server sees it. */
export class ScriptState implements Script {
  readonly fault: Fault;
  readonly gate = makeGate();
  hits = 0;
  #seen = 0;
  #freeAt = 0;
  #arrival = makeGate();
  #remove: () => void;

  constructor(fault: Fault, remove: () => void) {
    this.fault = fault;
    this.#remove = remove;
  }

  /** Counts a request that matches, and says whether the fault is due for it. */
  sees(entry: JournalEntry): boolean {
    const { match = {}, after = 0, times = Number.POSITIVE_INFINITY } = this.fault;
    if (!matches(entry, match)) return false;
    this.#seen += 1;
    return this.#seen > after && this.hits < times;
  }

  /** Waits at this point until released, or until `gone` (the client left) settles. */
  async waitHere(gone: Promise<void>): Promise<void> {
    this.#arrival.open();
    await Promise.race([this.gate.opened, gone]);
  }

  /** Milliseconds to wait after sending so many bytes, for the pace of this answer and of all together. */
  pauseAfter(bytes: number): number {
    const { bytesPerSecond = Infinity, totalBytesPerSecond = Infinity } = this.fault;
    const now = performance.now();
    this.#freeAt = Math.max(now, this.#freeAt) + (bytes / totalBytesPerSecond) * 1000;
    return Math.max((bytes / bytesPerSecond) * 1000, this.#freeAt - now);
  }

  reached(): Promise<void> {
    return within(this.#arrival.opened, () => `a request held by ${JSON.stringify(this.fault)}`);
  }

  release(): void {
    this.gate.open();
  }

  remove(): void {
    this.#remove();
  }
}
