import fc from 'fast-check';
import { expect, test } from 'vitest';
import { coldLayer, mustGet, warm } from '../helpers/cold-layer.ts';
import { multipartRanges } from '../helpers/multipart.ts';
import { type Answer, request } from '../helpers/request.ts';
import { howOften } from '../helpers/runs.ts';

const size = 1_000;

type Piece = { first: number; last: number | undefined } | { suffix: number };

const position = fc.oneof(fc.nat(size + 50), fc.constantFrom(0, 1, size - 1, size, size + 1));
const piece: fc.Arbitrary<Piece> = fc.oneof(
  fc.record({ first: position, last: fc.constant(undefined) }),
  fc.tuple(position, position).map(([a, b]) => ({ first: Math.min(a, b), last: Math.max(a, b) })),
  fc.record({ suffix: position }),
);

function written(part: Piece): string {
  return 'suffix' in part ? `-${part.suffix}` : `${part.first}-${part.last ?? ''}`;
}

/** RFC 9110, section 14.1.2, in the words of slices. */
function meant(part: Piece): [number, number] | undefined {
  const [start, end] =
    'suffix' in part
      ? [Math.max(0, size - part.suffix), size]
      : [part.first, part.last === undefined ? size : Math.min(size, part.last + 1)];
  return start < end ? [start, end] : undefined;
}

function pieces(answer: Answer): { range: string; bytes: Buffer }[] {
  const range = answer.headers['content-range'];
  return range === undefined ? multipartRanges(answer) : [{ range, bytes: answer.body }];
}

test('any Range header on a cached blob gives exactly the slices that it asks for', async () => {
  const { proxy, layer, path } = await coldLayer(size);
  await warm(proxy, path);
  await fc.assert(
    fc.asyncProperty(fc.array(piece, { minLength: 1, maxLength: 4 }), async (parts) => {
      const range = `bytes=${parts.map(written).join(',')}`;
      const answer = await request(proxy.url, path, { headers: { range } });
      const slices = parts.map(meant).filter((slice) => slice !== undefined);
      expect(answer.complete).toBe(true);
      expect(Number(answer.headers['content-length'])).toBe(answer.length);
      if (slices.length === 0) {
        expect(answer.status).toBe(416);
        expect(answer.headers['content-range']).toBe(`bytes */${size}`);
        return;
      }
      // A server may answer several ranges with the whole (section 14.2); a single one it has to honour here.
      if (slices.length > 1 && answer.status === 200) {
        expect(answer.digest).toBe(layer.digest);
        return;
      }
      expect(answer.status).toBe(206);
      const expected = slices.map(([start, end]) => [
        `bytes ${start}-${end - 1}/${size}`,
        layer.bytes.subarray(start, end).toString('latin1'),
      ]);
      expect(pieces(answer).map((part) => [part.range, part.bytes.toString('latin1')])).toEqual(expected);
    }),
    { numRuns: howOften(150, 40) },
  );
});

test.each([
  'bytes=',
  'bytes=a-b',
  'bytes=5-2',
  'items=0-1',
  'bytes',
  'bytes=--1',
  'bytes=1-2-3',
  'bytes=1e2-',
])('a Range header that means nothing (%s) is ignored', async (range) => {
  const { proxy, layer, path } = await coldLayer(size);
  const answer = await request(proxy.url, path, { headers: { range } });
  expect(answer).toMatchObject({ status: 200, digest: layer.digest });
});

test('separate ranges are answered as parts, so that the property above is not met by the whole alone', async () => {
  const { proxy, path } = await coldLayer(size);
  const answer = await request(proxy.url, path, { headers: { range: 'bytes=0-1,10-11' } });
  expect(multipartRanges(answer)).toHaveLength(2);
});

test('If-Range with another validator gives the whole blob, with its own the range', async () => {
  const { proxy, layer, path } = await coldLayer(size);
  const { headers } = await mustGet(proxy.url, path);
  const ask = async (validator: string) => {
    const answer = await request(proxy.url, path, { headers: { range: 'bytes=0-9', 'if-range': validator } });
    return answer.status;
  };
  expect(headers.etag).toBe(`"${layer.digest}"`);
  expect(await ask(`"${layer.digest}"`)).toBe(206);
  expect(await ask('"another"')).toBe(200);
});
