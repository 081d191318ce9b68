import { open } from 'node:fs/promises';

/** Bytes that are read at a time. */
const readSize = 1024 * 1024;

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
