import fc from 'fast-check';
import { expect, test } from 'vitest';
import { layOutMultipart } from '../../../src/http/registry/multipart.ts';
import { contentRange } from '../../../src/oci/range.ts';
import { seededBytes } from '../../helpers/image.ts';
import { multipartRanges } from '../../helpers/multipart.ts';
import type { Answer } from '../../helpers/request.ts';

const content = seededBytes('multipart', 500);
const range = fc
  .tuple(fc.nat(499), fc.integer({ min: 1, max: 500 }))
  .map(([start, length]) => ({ start, end: Math.min(500, start + length) }));

test('the length laid out is the number of bytes that the pieces make, and they read back as the parts', () => {
  const ranges = fc.array(range, { minLength: 2, maxLength: 16 });
  fc.assert(
    fc.property(ranges, fc.constantFrom('application/octet-stream', 'text/plain; x="é"'), (parts, type) => {
      const multipart = layOutMultipart(parts, content.length, type);
      const body = Buffer.concat(
        multipart.pieces.map((piece) =>
          piece.kind === 'text'
            ? Buffer.from(piece.text)
            : content.subarray(piece.range.start, piece.range.end),
        ),
      );
      expect(multipart.length).toBe(body.length);
      const answer: Pick<Answer, 'body' | 'headers'> = { body, headers: { 'content-type': multipart.type } };
      expect(multipartRanges(answer as Answer)).toEqual(
        parts.map((part) => ({
          range: contentRange(part, content.length),
          bytes: Buffer.from(content.subarray(part.start, part.end)),
        })),
      );
    }),
  );
});

test('each part says its type, and no two answers share a boundary', () => {
  const parts = [
    { start: 0, end: 1 },
    { start: 5, end: 9 },
  ];
  const [one, other] = [layOutMultipart(parts, 10, 'text/x'), layOutMultipart(parts, 10, 'text/x')];
  const text = one.pieces.map((piece) => (piece.kind === 'text' ? piece.text : '')).join('');
  expect(text.match(/Content-Type: text\/x\r\n/g)).toHaveLength(2);
  expect(one.type).not.toBe(other.type);
});
