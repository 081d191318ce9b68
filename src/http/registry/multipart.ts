import { randomBytes } from 'node:crypto';
import { type ByteRange, contentRange } from '../../oci/range.ts';
import type { BodyPiece } from './send-body.ts';

/** A `multipart/byteranges` body (RFC 9110, section 14.6), laid out before anything is read. */
export type Multipart = {
  readonly type: string;
  /** Bytes of the whole body. */
  readonly length: number;
  readonly pieces: readonly BodyPiece[];
};

/** Lays out the parts of an answer to a request for several ranges of `size` bytes. */
export function layOutMultipart(ranges: readonly ByteRange[], size: number, contentType: string): Multipart {
  const boundary = randomBytes(12).toString('hex');
  const pieces: BodyPiece[] = ranges.flatMap((range, index) => {
    const separator = `${index === 0 ? '' : '\r\n'}--${boundary}\r\n`;
    const head = `Content-Type: ${contentType}\r\nContent-Range: ${contentRange(range, size)}\r\n\r\n`;
    return [
      { kind: 'text', text: separator + head },
      { kind: 'range', range },
    ];
  });
  pieces.push({ kind: 'text', text: `\r\n--${boundary}--\r\n` });
  const length = pieces.reduce((sum, piece) => {
    return (
      sum + (piece.kind === 'text' ? Buffer.byteLength(piece.text) : piece.range.end - piece.range.start)
    );
  }, 0);
  return { type: `multipart/byteranges; boundary=${boundary}`, length, pieces };
}
