import { createHash, type Hash } from 'node:crypto';
import { type FileHandle, open, rename, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import {
  type BundlePart,
  encodePartList,
  headLength,
  partListName,
  partName,
} from '../transfer/bundle/parts.ts';

/** Bytes that are gathered before they are written: memory sticks like large writes. */
const writeSize = 4 * 1024 * 1024;

/**
 * Writes a bundle to `file`, or to `file.000`, `file.001`... of at most `split` bytes each, with a list of them in
 * `file.parts`. Until all of it is written, and on the disk, nothing has its final name; a failure leaves nothing.
 * @returns the names of the files, without folder
 */
export async function writeBundle(
  file: string,
  pieces: AsyncIterable<Uint8Array>,
  { split }: { readonly split: number | undefined },
): Promise<readonly string[]> {
  const parts: OpenPart[] = [];
  const begin = async (): Promise<OpenPart> => {
    const name = split === undefined ? file : partName(file, parts.length);
    const part = await OpenPart.create(name, { hashed: split !== undefined });
    parts.push(part);
    return part;
  };
  try {
    let part = await begin();
    for await (const piece of pieces) {
      for (let rest = piece; rest.length > 0; ) {
        if (part.size === split) {
          await part.finish();
          part = await begin();
        }
        const fits = rest.subarray(0, (split ?? Number.POSITIVE_INFINITY) - part.size);
        await part.write(fits);
        rest = rest.subarray(fits.length);
      }
    }
    await part.finish();
    const written: BundlePart[] = [];
    for (const each of parts) written.push(await each.keep());
    if (split !== undefined) await writeFile(partListName(file), encodePartList(written));
    return written.map(({ name }) => name);
  } catch (error) {
    for (const each of parts) await each.discard();
    throw error;
  }
}

/** A file that is being written under another name. */
class OpenPart {
  readonly #file: string;
  readonly #handle: FileHandle;
  readonly #hash: Hash | undefined;
  #head = Buffer.alloc(0);
  #pending: Uint8Array[] = [];
  #pendingBytes = 0;
  #size = 0;

  private constructor(file: string, handle: FileHandle, hashed: boolean) {
    this.#file = file;
    this.#handle = handle;
    this.#hash = hashed ? createHash('sha256') : undefined;
  }

  /** @param options.hashed whether it is one of several, and so is listed with its digest */
  static async create(file: string, { hashed }: { hashed: boolean }): Promise<OpenPart> {
    return new OpenPart(file, await open(unfinished(file), 'w'), hashed);
  }

  /** Bytes so far. */
  get size(): number {
    return this.#size;
  }

  async write(bytes: Uint8Array): Promise<void> {
    if (this.#head.length < headLength) {
      this.#head = Buffer.concat([this.#head, bytes.subarray(0, headLength - this.#head.length)]);
    }
    this.#size += bytes.length;
    this.#hash?.update(bytes);
    this.#pending.push(bytes);
    this.#pendingBytes += bytes.length;
    if (this.#pendingBytes >= writeSize) await this.#flush();
  }

  /** Closes the file once it is on the disk, since users pull sticks out. */
  async finish(): Promise<void> {
    await this.#flush();
    await this.#handle.sync();
    await this.#handle.close();
  }

  /** Gives a finished file its name. */
  async keep(): Promise<BundlePart> {
    await rename(unfinished(this.#file), this.#file);
    return {
      name: path.basename(this.#file),
      size: this.#size,
      head: createHash('sha256').update(this.#head).digest('hex'),
      sha256: this.#hash?.digest('hex') ?? '',
    };
  }

  async discard(): Promise<void> {
    await this.#handle.close().catch(() => undefined);
    await rm(unfinished(this.#file), { force: true });
  }

  async #flush(): Promise<void> {
    const bytes = this.#pending.length === 1 ? this.#pending[0] : Buffer.concat(this.#pending);
    this.#pending = [];
    this.#pendingBytes = 0;
    for (let at = 0; bytes !== undefined && at < bytes.length; ) {
      at += (await this.#handle.write(bytes, at)).bytesWritten;
    }
  }
}

function unfinished(file: string): string {
  return `${file}.incomplete`;
}
