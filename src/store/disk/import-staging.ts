import { createHash, type Hash } from 'node:crypto';
import { type FileHandle, mkdir, mkdtemp, open, readFile, rm, statfs } from 'node:fs/promises';
import path from 'node:path';
import type { Digest, DigestAlgorithm } from '../../oci/digest.ts';
import type { Layout } from './layout.ts';

/** Bytes that are gathered before they are written. */
const writeSize = 1024 * 1024;

/** Most of a disk that an import leaves free, in bytes; of a small disk a fiftieth. */
const largestReserve = 1024 ** 3;

/**
 * Where an import keeps what it has not yet found out the meaning of: `imports/<random>/` in the storage. What an
 * import leaves there that was killed is removed by the next one.
 */
export class ImportStaging {
  readonly #root: string;
  #running = 0;

  constructor(layout: Pick<Layout, 'imports'>) {
    this.#root = layout.imports;
  }

  /** Makes a place for one import; it must be closed. */
  async begin(): Promise<Staging> {
    if (this.#running === 0) await rm(this.#root, { recursive: true, force: true });
    this.#running += 1;
    try {
      await mkdir(this.#root, { recursive: true });
      const folder = await mkdtemp(path.join(this.#root, 'import-'));
      return new Staging(folder, () => {
        this.#running -= 1;
      });
    } catch (error) {
      this.#running -= 1;
      throw error;
    }
  }
}

/** The place of one import. */
export class Staging {
  readonly #folder: string;
  readonly #closed: () => void;
  #count = 0;

  constructor(folder: string, closed: () => void) {
    this.#folder = folder;
    this.#closed = closed;
  }

  /** Bytes that may still be written to the disk. */
  async room(): Promise<number> {
    const { bavail, blocks, bsize } = await statfs(this.#folder);
    return Math.max(0, (bavail - Math.min(largestReserve / bsize, blocks / 50)) * bsize);
  }

  /** Begins a file; its digest is computed with the algorithm while it is written. */
  async create(algorithm: DigestAlgorithm): Promise<StagedFile> {
    this.#count += 1;
    const file = path.join(this.#folder, String(this.#count));
    return new StagedFile(await open(file, 'wx'), file, algorithm);
  }

  /** Removes what is left. */
  async close(): Promise<void> {
    try {
      await rm(this.#folder, { recursive: true, force: true });
    } finally {
      this.#closed();
    }
  }
}

/** A file that is written once, from its beginning to its end. */
export class StagedFile {
  readonly path: string;
  readonly #handle: FileHandle;
  readonly #algorithm: DigestAlgorithm;
  readonly #hash: Hash;
  #pending: Uint8Array[] = [];
  #pendingBytes = 0;
  #writing: Promise<unknown> = Promise.resolve();
  #failure: unknown;

  constructor(handle: FileHandle, file: string, algorithm: DigestAlgorithm) {
    this.#handle = handle;
    this.path = file;
    this.#algorithm = algorithm;
    this.#hash = createHash(algorithm);
  }

  /** Appends bytes, which must not change afterwards. A failure to write may come with a later call. */
  async write(bytes: Uint8Array): Promise<void> {
    // The disk works while the digest is computed.
    this.#hash.update(bytes);
    this.#pending.push(bytes);
    this.#pendingBytes += bytes.length;
    if (this.#pendingBytes >= writeSize) await this.#flush();
  }

  /** Writes what is left and closes the file; the answer is the digest of it all. */
  async finish(): Promise<Digest> {
    try {
      await this.#flush();
      await this.#writing;
      if (this.#failure !== undefined) throw this.#failure;
    } finally {
      await this.#handle.close();
    }
    return `${this.#algorithm}:${this.#hash.digest('hex')}` as Digest;
  }

  /** Closes the file, whatever it holds, and removes it. */
  async discard(): Promise<void> {
    await this.#writing;
    await this.#handle.close().catch(() => undefined);
    await rm(this.path, { force: true });
  }

  /** All of a finished file. */
  content(): Promise<Buffer> {
    return readFile(this.path);
  }

  async #flush(): Promise<void> {
    await this.#writing;
    if (this.#failure !== undefined) throw this.#failure;
    const pieces = this.#pending;
    this.#pending = [];
    this.#pendingBytes = 0;
    if (pieces.length === 0) return;
    this.#writing = writeAll(this.#handle, pieces).catch((error: unknown) => {
      this.#failure = error;
    });
  }
}

async function writeAll(handle: FileHandle, pieces: readonly Uint8Array[]): Promise<void> {
  const total = pieces.reduce((sum, piece) => sum + piece.length, 0);
  const { bytesWritten } = await handle.writev([...pieces]);
  if (bytesWritten === total) return;
  const rest = Buffer.concat(pieces).subarray(bytesWritten);
  for (let at = 0; at < rest.length; ) at += (await handle.write(rest, at)).bytesWritten;
}

/** The pieces of a finished file, for reading it once more. */
export async function* piecesOf(file: Pick<StagedFile, 'path'>): AsyncGenerator<Buffer, void, undefined> {
  const handle = await open(file.path, 'r');
  try {
    for (;;) {
      const { buffer, bytesRead } = await handle.read(Buffer.allocUnsafeSlow(writeSize), 0, writeSize);
      if (bytesRead === 0) return;
      yield buffer.subarray(0, bytesRead);
    }
  } finally {
    await handle.close();
  }
}
