import { createHash, type Hash } from 'node:crypto';
import { readSync } from 'node:fs';
import type { Interval } from '../../lib/range-set.ts';
import type { DigestAlgorithm } from '../../oci/digest.ts';

/** Bytes that are hashed from a file between two turns of the event loop; they are to fit into a core's own cache. */
const piece = 256 * 1024;

/** One buffer serves a whole thread: bytes are hashed before the next are read into it. */
let shared: Buffer | undefined;

/** Bytes of the file, as they have just been written. */
type Written = { readonly position: number; readonly bytes: Buffer };

/** Hashes a growing file from its start, up to its first gap. */
export type FrontHash = {
  /** The file is whole up to `end`; `last`, what was written last, spares reading it again. */
  reached(end: number, last?: Written): void;
  /** The digest, in hex, of all that was reached; only a reset may follow. */
  digest(): Promise<string>;
  /** Starts anew; to be called before the file is emptied. */
  reset(): void;
  /** To be called before the file is closed. */
  close(): void;
};

/** A {@link FrontHash} in this thread, of a file that is open for reading. */
export class FileHash implements FrontHash {
  readonly #descriptor: number;
  readonly #algorithm: DigestAlgorithm;
  #hash: Hash;
  #hashed = 0;
  #end = 0;
  #catchingUp: Promise<void> | undefined;
  #generation = 0;

  constructor(descriptor: number, algorithm: DigestAlgorithm) {
    this.#descriptor = descriptor;
    this.#algorithm = algorithm;
    this.#hash = createHash(algorithm);
  }

  reached(end: number, last?: Written): void {
    this.#end = end;
    if (last?.position === this.#hashed && this.#catchingUp === undefined) {
      this.#hash.update(last.bytes);
      this.#hashed += last.bytes.length;
    }
    this.#catchUp();
  }

  async digest(): Promise<string> {
    this.#catchUp();
    await this.#catchingUp;
    return this.#hash.digest('hex');
  }

  reset(): void {
    this.close();
    this.#hash = createHash(this.#algorithm);
    this.#hashed = 0;
    this.#end = 0;
  }

  close(): void {
    this.#generation += 1;
    this.#catchingUp = undefined;
  }

  #catchUp(): void {
    if (this.#catchingUp !== undefined || this.#end <= this.#hashed) return;
    const generation = this.#generation;
    this.#catchingUp = hashFile(this.#descriptor, this.#hash, this.#hashed, (position) => {
      if (generation !== this.#generation) return position;
      this.#hashed = position;
      return this.#end;
    }).finally(() => {
      if (generation === this.#generation) this.#catchingUp = undefined;
    });
    // A failure to read shows in the digest.
    this.#catchingUp.catch(() => undefined);
  }
}

/** The digests of ranges of an open file, in hex. */
export async function digestsOf(descriptor: number, ranges: readonly Interval[]): Promise<string[]> {
  const digests: string[] = [];
  for (const [start, end] of ranges) {
    const hash = createHash('sha256');
    await hashFile(descriptor, hash, start, () => end);
    digests.push(hash.digest('hex'));
  }
  return digests;
}

/** Hashes the file from `start` to where `end` says, which is asked again after each piece. */
async function hashFile(
  descriptor: number,
  hash: Hash,
  start: number,
  end: (position: number) => number,
): Promise<void> {
  shared ??= Buffer.allocUnsafeSlow(piece);
  let position = start;
  for (;;) {
    const length = Math.min(piece, end(position) - position);
    if (length <= 0) return;
    const bytes = readSync(descriptor, shared, 0, length, position);
    if (bytes === 0) return;
    hash.update(bytes === piece ? shared : shared.subarray(0, bytes));
    position += bytes;
    await new Promise(setImmediate);
  }
}
