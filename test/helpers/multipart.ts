import type { Answer } from './request.ts';

/** One part of a multipart/byteranges answer. */
export type RangePart = { readonly range: string; readonly bytes: Buffer };

/**
 * Takes a multipart/byteranges answer apart (RFC 9110, section 14.6).
 * @throws when it is not one, or its framing is wrong
 */
export function multipartRanges(answer: Answer): RangePart[] {
  const type = answer.headers['content-type'] ?? '';
  const boundary = /^multipart\/byteranges; *boundary="?([^";]+)"?$/i.exec(type)?.[1];
  if (boundary === undefined) throw new Error(`not multipart/byteranges: ${type}`);
  const text = answer.body.toString('latin1');
  const closing = `\r\n--${boundary}--`;
  const end = text.indexOf(closing);
  if (end < 0 || text.slice(end + closing.length).trim() !== '')
    throw new Error('no closing boundary at the end');
  const pieces = `\r\n${text.slice(0, end)}`.replace(/^\r\n\r\n/, '\r\n').split(`\r\n--${boundary}\r\n`);
  if (pieces.shift() !== '') throw new Error('it does not begin with the boundary');
  return pieces.map((piece) => {
    const split = piece.indexOf('\r\n\r\n');
    const range = /^content-range: *(.+)$/im.exec(piece.slice(0, split))?.[1];
    if (split < 0 || range === undefined)
      throw new Error(`a part without Content-Range: ${piece.slice(0, 80)}`);
    return { range, bytes: Buffer.from(piece.slice(split + 4), 'latin1') };
  });
}
