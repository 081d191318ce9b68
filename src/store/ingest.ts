import { createHash, type Hash } from 'node:crypto';
import {
  closeSync,
  fstatSync,
  ftruncateSync,
  openSync,
  readFileSync,
  readSync,
  renameSync,
  rmSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { type Interval, RangeSet } from '../lib/range-set.ts';
import { type Digest, digestAlgorithm } from '../oci/digest.ts';
import { IntegrityError } from '../oci/errors.ts';
import { mapOfFill } from './layout.ts';

/** How much is hashed from the file between two turns of the event loop. */
const hashPiece = 1024 * 1024;

/** The map of what has arrived is saved after this many new bytes at the earliest. */
const mapEvery = 4 * 1024 * 1024;

/** ... and of a large file after so many parts of what is there: a crash loses no larger share of it. */
const mapShare = 1 / 8;

/**
 * One verified write: bytes are put into a file wherever they belong, in any order, and hashed from the front as
 * that closes up; they count only once {@link Ingest.verify} has compared the digest. A map beside the file says
 * what has arrived, so that an interrupted write is continued. Synchronous by design: it runs in a worker thread,
 * where a system call per half megabyte is cheaper than a promise.
 */
export class Ingest {
  readonly #descriptor: number;
  readonly #path: string;
  readonly #digest: Digest;
  readonly #algorithm: string;
  #arrived: RangeSet;
  #hash: Hash;
  #hashed = 0;
  #unsaved = 0;
  #catchingUp: Promise<void> | undefined;
  #generation = 0;

  private constructor(descriptor: number, path: string, digest: Digest, arrived: RangeSet) {
    this.#descriptor = descriptor;
    this.#path = path;
    this.#digest = digest;
    this.#algorithm = digestAlgorithm(digest);
    this.#arrived = arrived;
    this.#hash = createHash(this.#algorithm);
  }

  /**
   * Opens the file at `path`, made if absent, with what an earlier write left in it.
   * @param limit bytes; a map that goes beyond it cannot be of this blob and is dropped
   */
  static open(path: string, digest: Digest, limit: number): Ingest {
    closeSync(openSync(path, 'a'));
    const descriptor = openSync(path, 'r+');
    try {
      const arrived = readMap(path, limit, fstatSync(descriptor).size);
      // What a crash left beyond the map is of nobody knows what.
      ftruncateSync(descriptor, arrived.intervals.at(-1)?.[1] ?? 0);
      return new Ingest(descriptor, path, digest, arrived);
    } catch (error) {
      closeSync(descriptor);
      throw error;
    }
  }

  /** What is in the file. */
  get arrived(): readonly Interval[] {
    return this.#arrived.intervals;
  }

  /**
   * Puts bytes at `position`; the buffer may be reused once this returns. What is there already stays as it is, since
   * it may have been hashed: bytes of a second source never replace those of the first.
   */
  write(position: number, bytes: Buffer): void {
    for (const [start, end] of this.#arrived.gaps(position, position + bytes.length)) {
      this.#put(start, bytes.subarray(start - position, end - position));
    }
    if (this.#unsaved >= Math.max(mapEvery, this.#arrived.size * mapShare)) this.save();
  }

  /** Compares the digest of everything from the start; nothing may be written meanwhile, nor later but after a reset. */
  async verify(): Promise<void> {
    this.#catchUp();
    await this.#catchingUp;
    const found = `${this.#algorithm}:${this.#hash.digest('hex')}`;
    if (found !== this.#digest) throw new IntegrityError(this.#digest, found);
  }

  /** The digests of stretches of the file, in hex, to compare one copy with another. */
  async digestsOf(stretches: readonly Interval[]): Promise<readonly string[]> {
    const digests: string[] = [];
    for (const [start, end] of stretches) {
      const hash = createHash('sha256');
      await this.#hashFile(hash, start, () => end);
      digests.push(hash.digest('hex'));
    }
    return digests;
  }

  /** Throws the bytes away and starts anew. */
  reset(): void {
    this.#generation += 1;
    this.#catchingUp = undefined;
    ftruncateSync(this.#descriptor, 0);
    this.#arrived = new RangeSet();
    this.#hash = createHash(this.#algorithm);
    this.#hashed = 0;
    this.save();
  }

  /** Writes the map, whole or not at all. */
  save(): void {
    this.#unsaved = 0;
    const map = mapOfFill(this.#path);
    writeFileSync(`${map}.new`, JSON.stringify(this.#arrived.intervals));
    renameSync(`${map}.new`, map);
  }

  /** Closes the file and leaves it, with its map, as it is. */
  close(): void {
    this.#generation += 1;
    try {
      this.save();
    } finally {
      closeSync(this.#descriptor);
    }
  }

  #put(position: number, bytes: Buffer): void {
    let done = 0;
    while (done < bytes.length) {
      done += writeSync(this.#descriptor, bytes, done, bytes.length - done, position + done);
    }
    this.#arrived.add(position, position + bytes.length);
    this.#unsaved += bytes.length;
    if (position === this.#hashed && this.#catchingUp === undefined) {
      this.#hash.update(bytes);
      this.#hashed += bytes.length;
    }
    this.#catchUp();
  }

  #catchUp(): void {
    if (this.#catchingUp !== undefined || this.#arrived.runFrom(this.#hashed) <= this.#hashed) return;
    const generation = this.#generation;
    this.#catchingUp = this.#hashFile(this.#hash, this.#hashed, (position) => {
      if (generation !== this.#generation) return position;
      this.#hashed = position;
      return this.#arrived.runFrom(position);
    }).finally(() => {
      if (generation === this.#generation) this.#catchingUp = undefined;
    });
    // A failure to read shows in the digest.
    this.#catchingUp.catch(() => undefined);
  }

  /** Hashes the file from `start` to where `end` says, which is asked again after each piece. */
  async #hashFile(hash: Hash, start: number, end: (position: number) => number): Promise<void> {
    const buffer = Buffer.allocUnsafe(hashPiece);
    let position = start;
    for (;;) {
      const length = Math.min(buffer.length, end(position) - position);
      if (length <= 0) return;
      const bytes = readSync(this.#descriptor, buffer, 0, length, position);
      if (bytes === 0) return;
      hash.update(buffer.subarray(0, bytes));
      position += bytes;
      await new Promise(setImmediate);
    }
  }
}

/** What the map beside `path` says has arrived, as far as it can be true of a file of `size` bytes. */
function readMap(path: string, limit: number, size: number): RangeSet {
  const map = mapOfFill(path);
  try {
    const intervals: unknown = JSON.parse(readFileSync(map, 'utf8'));
    if (Array.isArray(intervals) && intervals.every(isInterval)) {
      const arrived = new RangeSet(intervals.map(([start, end]) => [start, Math.min(end, size)]));
      if (intervals.every(([, end]) => end <= limit)) return arrived;
    }
  } catch {
    // Without a map that can be read nothing is known to be there.
  }
  rmSync(map, { force: true });
  return new RangeSet();
}

function isInterval(value: unknown): value is Interval {
  if (!Array.isArray(value) || value.length !== 2) return false;
  const [start, end] = value as unknown[];
  return (
    Number.isSafeInteger(start) &&
    Number.isSafeInteger(end) &&
    0 <= Number(start) &&
    Number(start) <= Number(end)
  );
}
