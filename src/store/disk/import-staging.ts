import { mkdir, mkdtemp, readFile, rm, statfs } from 'node:fs/promises';
import path from 'node:path';
import type { Digest, DigestAlgorithm } from '../../oci/digest.ts';
import type { DigestStream } from './digest-stream.ts';
import type { DigestThread } from './digest-thread.ts';
import type { Layout } from './layout.ts';

/** Bytes of a disk that an import leaves free. Of a small disk it leaves a fiftieth free. */
const largestReserve = 1024 ** 3;

/**
 * Where an import keeps files until it knows what they are: `imports/import-<random>/` in the storage. The next import
 * removes what a killed one left there.
 */
export class ImportStaging {
  readonly #root: string;
  readonly #digests: DigestThread;
  #running = 0;

  constructor(deps: { layout: Pick<Layout, 'imports'>; digests: DigestThread }) {
    this.#root = deps.layout.imports;
    this.#digests = deps.digests;
  }

  /** Makes a place for one import; it must be closed. */
  async begin(): Promise<Staging> {
    if (this.#running === 0) await rm(this.#root, { recursive: true, force: true });
    this.#running += 1;
    try {
      await mkdir(this.#root, { recursive: true });
      const folder = await mkdtemp(path.join(this.#root, 'import-'));
      const closed = () => {
        this.#running -= 1;
      };
      return new Staging({ digests: this.#digests, closed }, { folder });
    } catch (error) {
      this.#running -= 1;
      throw error;
    }
  }
}

/** The place of one import. */
export class Staging {
  readonly #folder: string;
  readonly #digests: DigestThread;
  readonly #closed: () => void;
  #count = 0;

  constructor(deps: { digests: DigestThread; closed: () => void }, options: { folder: string }) {
    this.#folder = options.folder;
    this.#digests = deps.digests;
    this.#closed = deps.closed;
  }

  /** Bytes that may still be written to the disk. */
  async room(): Promise<number> {
    const { bavail, blocks, bsize } = await statfs(this.#folder);
    return Math.max(0, (bavail - Math.min(largestReserve / bsize, blocks / 50)) * bsize);
  }

  /**
   * Begins a file; its digest is computed with the algorithm while it is written.
   * @throws DigestThreadError when the server is closing
   */
  create(algorithm: DigestAlgorithm): StagedFile {
    this.#count += 1;
    const file = path.join(this.#folder, String(this.#count));
    return new StagedFile(file, this.#digests.begin(algorithm, file));
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
  readonly #bytes: DigestStream;

  constructor(path: string, bytes: DigestStream) {
    this.path = path;
    this.#bytes = bytes;
  }

  /**
   * Appends bytes, which are the caller's again once this resolves.
   * @throws DigestThreadError when these or earlier ones cannot be written
   */
  write(bytes: Uint8Array): Promise<void> {
    return this.#bytes.write(bytes);
  }

  /**
   * Closes the file; the answer is the digest of it all.
   * @throws DigestThreadError when not all of it could be written
   */
  finish(): Promise<Digest> {
    return this.#bytes.end();
  }

  /** Closes the file, whatever it holds, and removes it. */
  async discard(): Promise<void> {
    await this.#bytes.drop();
    await rm(this.path, { force: true });
  }

  /** All of a finished file. */
  content(): Promise<Buffer> {
    return readFile(this.path);
  }
}
