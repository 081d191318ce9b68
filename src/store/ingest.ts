import { createHash, type Hash } from 'node:crypto';
import { closeSync, fstatSync, ftruncateSync, openSync, readSync, writeSync } from 'node:fs';
import { type Digest, digestAlgorithm } from '../oci/digest.ts';
import { IntegrityError } from '../oci/errors.ts';

/** How much of a kept file is hashed between two turns of the event loop. */
const rehashPiece = 4 * 1024 * 1024;

/**
 * One verified write: bytes are appended to a file and hashed as they come, and count only once
 * {@link Ingest.verify} has compared the digest. Synchronous by design: it runs in a worker thread, where a
 * system call per half megabyte is cheaper than a promise.
 */
export class Ingest {
  readonly #descriptor: number;
  readonly #digest: Digest;
  #hash: Hash;
  #written: number;

  private constructor(descriptor: number, digest: Digest) {
    this.#descriptor = descriptor;
    this.#digest = digest;
    this.#hash = createHash(digestAlgorithm(digest));
    this.#written = 0;
  }

  /**
   * Opens the file at `path`, made if absent, and continues after what it holds, which is hashed first.
   * @param limit bytes; a file longer than this cannot be the blob and is started anew
   */
  static async open(path: string, digest: Digest, limit: number): Promise<Ingest> {
    const descriptor = openSync(path, 'a+');
    try {
      const ingest = new Ingest(descriptor, digest);
      const { size } = fstatSync(descriptor);
      if (size > limit) ftruncateSync(descriptor, 0);
      else await ingest.#rehash(size);
      return ingest;
    } catch (error) {
      closeSync(descriptor);
      throw error;
    }
  }

  /** Bytes in the file. */
  get written(): number {
    return this.#written;
  }

  /** Appends bytes; the buffer may be reused once this returns. */
  append(bytes: Buffer): void {
    this.#hash.update(bytes);
    let done = 0;
    while (done < bytes.length) done += writeSync(this.#descriptor, bytes, done, bytes.length - done);
    this.#written += bytes.length;
  }

  /** Compares what was written with the digest. Nothing may be appended afterwards but through {@link Ingest.reset}. */
  verify(): void {
    const found = `${digestAlgorithm(this.#digest)}:${this.#hash.digest('hex')}`;
    if (found !== this.#digest) throw new IntegrityError(this.#digest, found);
  }

  /** Throws the bytes away and starts anew. */
  reset(): void {
    ftruncateSync(this.#descriptor, 0);
    this.#hash = createHash(digestAlgorithm(this.#digest));
    this.#written = 0;
  }

  /** Closes the file and leaves it as it is. */
  close(): void {
    closeSync(this.#descriptor);
  }

  async #rehash(size: number): Promise<void> {
    const buffer = Buffer.allocUnsafe(Math.min(rehashPiece, size));
    while (this.#written < size) {
      const bytes = readSync(this.#descriptor, buffer, 0, buffer.length, this.#written);
      if (bytes === 0) break;
      this.#hash.update(buffer.subarray(0, bytes));
      this.#written += bytes;
      await new Promise(setImmediate);
    }
  }
}
