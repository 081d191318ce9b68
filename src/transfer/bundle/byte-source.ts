import { BundleError } from './bundle-error.ts';

const noBytes = Buffer.alloc(0);

/** Bytes that arrive in pieces of any size, read in pieces of the sizes that the reader needs; nothing is copied. */
export class ByteSource {
  readonly #pieces: AsyncIterator<Uint8Array>;
  #rest: Buffer = noBytes;
  #offset = 0;
  #ended = false;

  constructor(pieces: AsyncIterable<Uint8Array>) {
    this.#pieces = pieces[Symbol.asyncIterator]();
  }

  /** How many bytes were read. */
  get offset(): number {
    return this.#offset;
  }

  /** The next bytes, at least one and at most `most`, as many as have arrived; `undefined` at the end. */
  async some(most: number): Promise<Buffer | undefined> {
    while (this.#rest.length === 0) {
      if (this.#ended) return undefined;
      const { value, done } = await this.#pieces.next();
      if (done === true) {
        this.#ended = true;
        return undefined;
      }
      this.#rest = Buffer.from(value.buffer, value.byteOffset, value.byteLength);
    }
    const piece = this.#rest.subarray(0, most);
    this.#rest = this.#rest.subarray(piece.length);
    this.#offset += piece.length;
    return piece;
  }

  /**
   * The next `length` bytes as one buffer; `undefined` at the end.
   * @throws BundleError `BUNDLE_TRUNCATED` when there are some, but not as many
   */
  async exactly(length: number): Promise<Buffer | undefined> {
    if (length === 0) return noBytes;
    const first = await this.some(length);
    if (first === undefined || first.length === length) return first;
    const pieces = [first];
    for (let missing = length - first.length; missing > 0; ) {
      const piece = await this.some(missing);
      if (piece === undefined) throw this.truncated();
      pieces.push(piece);
      missing -= piece.length;
    }
    return Buffer.concat(pieces, length);
  }

  /** The error for an end that comes too early. */
  truncated(): BundleError {
    return new BundleError(
      'BUNDLE_TRUNCATED',
      `the archive ends too early, after ${this.#offset} bytes: it was not copied whole`,
    );
  }

  /** Closes what the bytes come from. */
  async close(): Promise<void> {
    if (this.#ended) return;
    this.#ended = true;
    this.#rest = noBytes;
    await this.#pieces.return?.();
  }
}
