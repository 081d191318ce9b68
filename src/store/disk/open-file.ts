import { close, fstat, open, read } from 'node:fs';
import { promisify } from 'node:util';
import type { BlobFile } from '../blob-store.ts';

const openDescriptor = promisify(open);
const statDescriptor = promisify(fstat);
const closeDescriptor = promisify(close);

/** Opens a regular file for positional reads, its size taken at that moment; `undefined` when there is none. */
export async function openFile(path: string): Promise<BlobFile | undefined> {
  const descriptor = await openDescriptor(path, 'r').catch(ignoreMissing);
  if (descriptor === undefined) return undefined;
  try {
    const { size } = await statDescriptor(descriptor);
    return {
      size,
      read: (buffer, length, position) => {
        return new Promise((resolve, reject) => {
          read(descriptor, buffer, 0, length, position, (error, bytes) => {
            if (error) reject(error);
            else resolve(bytes);
          });
        });
      },
      close: () => closeDescriptor(descriptor),
    };
  } catch (error) {
    await closeDescriptor(descriptor);
    throw error;
  }
}

/** Turns "no such file" into `undefined` and lets every other failure through. */
export function ignoreMissing(error: NodeJS.ErrnoException): undefined {
  if (error.code === 'ENOENT') return undefined;
  throw error;
}
