import { type Framing, MalformedError } from './head.ts';

/** What one step took from the bytes at hand: `data` is a piece of that memory; `consumed` counts framing too. */
type BodyStep = { data: Buffer; consumed: number };

/** Cuts a body out of the bytes of a connection. */
export type BodyDecoder = {
  /** The body is over: whatever follows belongs to something else. */
  readonly done: boolean;
  /** The end of the connection is a legitimate end of this body. */
  readonly endsWithConnection: boolean;
  /**
   * Takes what it can from the front of `bytes`, which it may overwrite (framing is squeezed out in place).
   * Consuming nothing means that more bytes are needed. Throws {@link MalformedError}.
   */
  take(bytes: Buffer): BodyStep;
};

/** The decoder for a framing. */
export function bodyDecoder(framing: Framing): BodyDecoder {
  if (framing.kind === 'chunked') return new ChunkedBody();
  return new PlainBody(framing.kind === 'length' ? framing.length : undefined);
}

class PlainBody implements BodyDecoder {
  #left: number;
  readonly endsWithConnection: boolean;

  constructor(length: number | undefined) {
    this.#left = length ?? Number.POSITIVE_INFINITY;
    this.endsWithConnection = length === undefined;
  }

  get done(): boolean {
    return this.#left === 0;
  }

  take(bytes: Buffer): BodyStep {
    const data = bytes.length > this.#left ? bytes.subarray(0, this.#left) : bytes;
    this.#left -= data.length;
    return { data, consumed: data.length };
  }
}

/** The longest chunk-size line (with its extensions) and the longest trailer section. */
const maxLine = 4096;
const maxTrailers = 16 * 1024;

const sizeLine = /^([0-9A-Fa-f]{1,13})[\t ]*(?:;[\t\x20-\x7e\x80-\xff]*)?$/;
const trailerLine = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t\x20-\x7e\x80-\xff]*$/;

/** RFC 9112, section 7.1, strictly: every line ends in CRLF, every size is plain hexadecimal, trailers are dropped. */
class ChunkedBody implements BodyDecoder {
  readonly endsWithConnection = false;
  #state: 'size' | 'data' | 'data-end' | 'trailers' | 'done' = 'size';
  #left = 0;
  #trailers = 0;

  get done(): boolean {
    return this.#state === 'done';
  }

  take(bytes: Buffer): BodyStep {
    let at = 0;
    let end = 0;
    while (this.#state !== 'done') {
      if (this.#state === 'data') {
        const size = Math.min(this.#left, bytes.length - at);
        if (size === 0) break;
        if (end !== at) bytes.copyWithin(end, at, at + size);
        at += size;
        end += size;
        this.#left -= size;
        if (this.#left === 0) this.#state = 'data-end';
      } else if (this.#state === 'data-end') {
        if (bytes.length - at < 2) break;
        if (bytes[at] !== 13 || bytes[at + 1] !== 10)
          throw new MalformedError('a chunk does not end where it said');
        at += 2;
        this.#state = 'size';
      } else {
        const next = this.#takeLine(bytes, at);
        if (next === undefined) break;
        at = next;
      }
    }
    return { data: bytes.subarray(0, end), consumed: at };
  }

  /** Reads one size or trailer line; the position after it, or `undefined` when it is not whole yet. */
  #takeLine(bytes: Buffer, at: number): number | undefined {
    const feed = bytes.indexOf(10, at);
    if ((feed < 0 ? bytes.length : feed) - at > maxLine) throw new MalformedError('a chunk line is too long');
    if (feed < 0) return undefined;
    if (bytes[feed - 1] !== 13 || feed === at) throw new MalformedError('a chunk line does not end in CRLF');
    const line = bytes.toString('latin1', at, feed - 1);
    if (this.#state === 'size') this.#readSize(line);
    else this.#readTrailer(line);
    return feed + 1;
  }

  #readSize(line: string): void {
    const match = sizeLine.exec(line);
    if (!match) throw new MalformedError('a chunk size is not hexadecimal');
    this.#left = Number.parseInt(match[1] ?? '', 16);
    this.#state = this.#left === 0 ? 'trailers' : 'data';
  }

  #readTrailer(line: string): void {
    this.#trailers += line.length;
    if (line === '') this.#state = 'done';
    else if (!trailerLine.test(line)) throw new MalformedError('a trailer is not a header line');
    else if (this.#trailers > maxTrailers) throw new MalformedError('the trailers are too long');
  }
}
