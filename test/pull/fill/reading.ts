import type { BlobContent } from '../../../src/pull/fill/content.ts';

/** How one reader fared: the bytes that it was given, and the failure that ended it if one did. */
export type Reading = { readonly bytes: Buffer; readonly failure: Error | undefined };

/** Reads a range as a server does, `step` bytes at a time, until its end or until it fails. */
export async function readRange(
  read: BlobContent['read'],
  range: { start: number; end: number },
  step: number,
  signal: AbortSignal,
): Promise<Reading> {
  const pieces: Buffer[] = [];
  let position = range.start;
  try {
    while (position < range.end) {
      const buffer = Buffer.alloc(step);
      const count = await read(buffer, Math.min(step, range.end - position), position, signal);
      if (count <= 0 || count > range.end - position) throw new Error(`a read gave ${count} bytes`);
      pieces.push(buffer.subarray(0, count));
      position += count;
    }
    return { bytes: Buffer.concat(pieces), failure: undefined };
  } catch (error) {
    return { bytes: Buffer.concat(pieces), failure: error as Error };
  }
}
