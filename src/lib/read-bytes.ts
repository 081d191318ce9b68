import { open } from 'node:fs/promises';

/** Bytes of a file that are read at a time. */
const readSize = 1024 * 1024;

/** The beginning of a body. */
type Beginning = {
  /** No more than was wanted. */
  readonly bytes: Buffer;
  /** Whether that is all of the body. */
  readonly whole: boolean;
};

/**
 * Reads a body up to `most` bytes, whatever length it declares. One that is longer is left, as by `break` in a loop, at
 * the chunk that shows it: no more than that chunk is ever held beyond the bound. Rejects with the body's own failure.
 */
export async function readUpTo(body: AsyncIterable<Uint8Array>, most: number): Promise<Beginning> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of body) {
    chunks.push(chunk);
    length += chunk.length;
    if (length > most) break;
  }
  return { bytes: Buffer.concat(chunks, Math.min(length, most)), whole: length <= most };
}

/** The bytes of a file, in buffers of their own. */
export async function* fileContent(file: string): AsyncGenerator<Buffer, void, undefined> {
  const handle = await open(file, 'r');
  try {
    for (;;) {
      const { buffer, bytesRead } = await handle.read(Buffer.allocUnsafeSlow(readSize), 0, readSize);
      if (bytesRead === 0) return;
      yield buffer.subarray(0, bytesRead);
    }
  } finally {
    await handle.close();
  }
}
