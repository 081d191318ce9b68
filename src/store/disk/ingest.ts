import {
  closeSync,
  fstatSync,
  ftruncateSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import type { MessagePort } from 'node:worker_threads';
import { type Interval, RangeSet } from '../../lib/range-set.ts';
import type { Digest, DigestAlgorithm } from '../../oci/digest.ts';
import { FarHash } from './far-hash.ts';
import { digestsOf, FileHash, type FrontHash } from './file-hash.ts';
import { mapOfFill } from './layout.ts';

/** The map of what has arrived is saved after this many new bytes at the earliest. */
const mapEvery = 4 * 1024 * 1024;

/** Of a large file the map is saved after this share of what is there, so that a crash loses no larger share. */
const mapShare = 1 / 8;

/** What a file is written for. */
type IngestOptions = {
  readonly algorithm: DigestAlgorithm;
  /** Bytes: a map that goes beyond them cannot be of this blob, and is dropped. */
  readonly limit: number;
  /** Leads to a thread that hashes the file; without it this one does. */
  readonly hasher?: MessagePort | undefined;
  /** Whether a map beside the file says what has arrived, so that an interrupted write is continued: yes unless given. */
  readonly resumable?: boolean;
};

/**
 * One verified write: bytes are put into a file wherever they belong, in any order, and hashed from the front as
 * that closes up. They count only once somebody has compared {@link Ingest.digest}: the digest that they should have may
 * be known before the first byte or after the last. Synchronous by design: it runs in worker threads,
 * where a system call per half megabyte is cheaper than a promise.
 */
export class Ingest {
  readonly #descriptor: number;
  readonly #path: string;
  readonly #algorithm: DigestAlgorithm;
  readonly #resumable: boolean;
  readonly #front: FrontHash;
  #arrived: RangeSet;
  #unsaved = 0;

  private constructor(
    descriptor: number,
    path: string,
    arrived: RangeSet,
    { algorithm, hasher, resumable = true }: IngestOptions,
  ) {
    this.#descriptor = descriptor;
    this.#path = path;
    this.#algorithm = algorithm;
    this.#resumable = resumable;
    this.#arrived = arrived;
    const here = () => new FileHash(descriptor, algorithm);
    this.#front = hasher === undefined ? here() : new FarHash(hasher, here);
  }

  /** Opens the file at `path`, made if absent, with what an earlier write left in it. */
  static open(path: string, options: IngestOptions): Ingest {
    let descriptor: number | undefined;
    try {
      closeSync(openSync(path, 'a'));
      descriptor = openSync(path, 'r+');
      const arrived = readMap(path, options.limit, fstatSync(descriptor).size);
      // Nothing says what a crash left beyond the map.
      ftruncateSync(descriptor, arrived.intervals.at(-1)?.[1] ?? 0);
      return new Ingest(descriptor, path, arrived, options);
    } catch (error) {
      options.hasher?.close();
      if (descriptor !== undefined) closeSync(descriptor);
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

  /**
   * The digest of the bytes from the start to the first that is missing, as they are in the file. Nothing may be written
   * meanwhile, nor later but after a reset.
   */
  async digest(): Promise<Digest> {
    this.#front.reached(this.#arrived.runFrom(0));
    return `${this.#algorithm}:${await this.#front.digest()}` as Digest;
  }

  /** The digests of ranges of the file, in hex, to compare one copy with another. */
  digestsOf(ranges: readonly Interval[]): Promise<readonly string[]> {
    return digestsOf(this.#descriptor, ranges);
  }

  /** Throws the bytes away and starts anew. */
  reset(): void {
    this.#front.reset();
    ftruncateSync(this.#descriptor, 0);
    this.#arrived = new RangeSet();
    this.save();
  }

  /** Writes the map, where there is one, whole or not at all. */
  save(): void {
    this.#unsaved = 0;
    if (!this.#resumable) return;
    const map = mapOfFill(this.#path);
    writeFileSync(`${map}.new`, JSON.stringify(this.#arrived.intervals));
    renameSync(`${map}.new`, map);
  }

  /** Closes the file and leaves it, with its map, as it is. */
  close(): void {
    this.#front.close();
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
    this.#front.reached(this.#arrived.runFrom(0), { position, bytes });
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
