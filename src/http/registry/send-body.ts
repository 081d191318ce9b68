import type { ServerResponse } from 'node:http';
import type { ByteRange } from '../../oci/range.ts';
import type { BlobContent } from '../../pull/fill/content.ts';
import { cutWhenStalled } from '../stalled-client.ts';
import type { BufferPool } from './buffer-pool.ts';

/** A piece of a body: bytes of the blob, or the framing between the parts of a multipart answer. */
export type BodyPiece =
  | { readonly kind: 'range'; readonly range: ByteRange }
  | { readonly kind: 'text'; readonly text: string };

/**
 * Reads a blob in pieces into two reused buffers in turn, so that the next read overlaps the last write.
 * `begin` is called once the first bytes are there, and writes the head: until then nothing is sent, so that a
 * blob that cannot be had is answered with an error instead of a broken body.
 * A client that takes no byte for `options.stall` milliseconds is cut off.
 * Resolves when everything is handed to the connection; rejects when it closes early or the content fails.
 */
export async function sendBody(
  deps: { outgoing: ServerResponse; content: BlobContent; pool: BufferPool },
  pieces: readonly BodyPiece[],
  begin: () => void,
  options: { stall: number; signal: AbortSignal; sent: (bytes: number) => void },
): Promise<void> {
  const { outgoing, content, pool } = deps;
  const { signal, sent } = options;
  const longest = pieces.reduce(
    (most, piece) => (piece.kind === 'range' ? Math.max(most, lengthOf(piece)) : most),
    0,
  );
  const buffers = [pool.acquire(longest)];
  let writing: Promise<void> | undefined;
  let turn = 0;
  let closed: ((error: Error) => void) | undefined;
  // A connection that is already gone when a write begins never calls back: its closing has to settle the write.
  const onClose = () => closed?.(new Error('the connection closed'));
  outgoing.once('close', onClose);
  const written = (bytes: Buffer) => {
    return new Promise<void>((resolve, reject) => {
      closed = reject;
      if (outgoing.closed) onClose();
      outgoing.write(bytes, (error) => {
        if (error) reject(error);
        else resolve();
      });
    });
  };
  const write = (bytes: Buffer) => {
    writing = written(bytes);
    // It may fail while the next read is awaited; whoever awaits the write afterwards still learns of it.
    writing.catch(() => undefined);
  };
  cutWhenStalled(outgoing, options.stall);
  let begun = false;
  try {
    for (const piece of pieces) {
      if (piece.kind === 'text') {
        if (begun) {
          await writing;
          write(Buffer.from(piece.text));
        }
        continue;
      }
      let position = piece.range.start;
      while (position < piece.range.end) {
        if (turn === 1 && buffers.length === 1) buffers.push(pool.acquire(longest));
        const buffer = buffers[turn] as Buffer;
        const wanted = Math.min(buffer.length, piece.range.end - position);
        const bytes = await content.read(buffer, wanted, position, signal);
        if (bytes === 0) throw new Error('the file is shorter than its blob');
        await writing;
        if (!begun) {
          begun = true;
          begin();
          for (const text of leadingText(pieces)) write(Buffer.from(text));
        }
        write(buffer.subarray(0, bytes));
        sent(bytes);
        position += bytes;
        turn = 1 - turn;
      }
    }
    if (!begun) begin();
    await writing;
    outgoing.end();
  } finally {
    // A write under way still reads from its buffer.
    await writing?.catch(() => undefined);
    outgoing.off('close', onClose);
    for (const buffer of buffers) pool.release(buffer);
  }
}

function lengthOf({ range }: { range: ByteRange }): number {
  return range.end - range.start;
}

/** The framing before the first range, which waits until that range's first bytes are there. */
function leadingText(pieces: readonly BodyPiece[]): string[] {
  const first = pieces.findIndex((piece) => piece.kind === 'range');
  return pieces.slice(0, Math.max(0, first)).flatMap((piece) => (piece.kind === 'text' ? [piece.text] : []));
}
