import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { contentRange, parseRange, resolveRange } from '../../src/oci/range.ts';

type Piece = { first: number; last: number | undefined } | { suffix: number };

/** Sizes are small so that every kind of overlap is likely. */
const size = fc.nat(20);
const position = fc.oneof(fc.nat(25), fc.constantFrom(999_999_999_999_999));
const piece: fc.Arbitrary<Piece> = fc.oneof(
  fc.record({ first: position, last: fc.constant(undefined) }),
  fc.tuple(position, position).map(([a, b]) => ({ first: Math.min(a, b), last: Math.max(a, b) })),
  fc.record({ suffix: position }),
);

function written(part: Piece): string {
  return 'suffix' in part ? `-${part.suffix}` : `${part.first}-${part.last ?? ''}`;
}

/** What RFC 9110, section 14.1.2, says in the words of slices. */
function slice(part: Piece, content: string): string {
  if ('suffix' in part) return part.suffix === 0 ? '' : content.slice(-part.suffix);
  return content.slice(part.first, part.last === undefined ? undefined : part.last + 1);
}

const alphabet = 'abcdefghijklmnopqrstuvwxyz';

test('any valid header resolves to the slices that it asks for, or to the whole', () => {
  fc.assert(
    fc.property(
      fc.array(piece, { minLength: 1, maxLength: 16 }),
      size,
      fc.constantFrom(',', ', ', ' ,\t'),
      fc.constantFrom('bytes=', 'Bytes=', 'bytes ='),
      (parts, length, comma, unit) => {
        const content = alphabet.slice(0, length);
        const resolved = resolveRange(parseRange(unit + parts.map(written).join(comma)), length);
        const slices = parts.map((part) => slice(part, content)).filter((text) => text !== '');
        const cut = ({ start, end }: { start: number; end: number }) => content.slice(start, end);
        switch (resolved.kind) {
          case 'unsatisfiable':
            expect(slices).toEqual([]);
            return;
          case 'single':
            expect([cut(resolved.range)]).toEqual(slices);
            return;
          case 'multiple':
            expect(resolved.ranges.map(cut)).toEqual(slices);
            expect(slices.join('').length).toBeLessThanOrEqual(length);
            return;
          case 'full': {
            // Only ranges that overlap may be answered with the whole: some letter is asked for twice.
            const letters = slices.join('');
            expect(slices.length).toBeGreaterThan(1);
            expect(new Set(letters).size).toBeLessThan(letters.length);
            return;
          }
          default:
            resolved satisfies never;
        }
      },
    ),
    { numRuns: 2_000 },
  );
});

test('a resolved range is never empty, reversed or beyond the end, whatever the header', () => {
  const header = fc.oneof(
    fc.string(),
    fc.stringMatching(/^bytes=[0-9]{0,17}-[0-9]{0,17}(,[0-9]{0,3}-[0-9]{0,3}){0,20}$/),
  );
  fc.assert(
    fc.property(header, fc.oneof(size, fc.maxSafeNat()), (text, length) => {
      const resolved = resolveRange(parseRange(text), length);
      const ranges =
        resolved.kind === 'single' ? [resolved.range] : resolved.kind === 'multiple' ? resolved.ranges : [];
      for (const { start, end } of ranges) {
        expect(start).toBeGreaterThanOrEqual(0);
        expect(end).toBeGreaterThan(start);
        expect(end).toBeLessThanOrEqual(length);
      }
    }),
    { numRuns: 1_000 },
  );
});

describe('a header that is ignored', () => {
  test.each([
    undefined,
    '',
    'bytes',
    'bytes=',
    'bytes=,',
    'bytes=-',
    'bytes=a-b',
    'bytes=5-2',
    'bytes=--1',
    'bytes=1-2-3',
    'bytes=1.0-2',
    'bytes=1-2;3-4',
    'bytes=0x1-2',
    'bytes=1-2,5-3',
    'items=0-1',
    'bytes=0-1, frog',
    'bytes=1234567890123456-',
    `bytes=${'0-1,'.repeat(16)}0-1`,
    `bytes=${' '.repeat(1_100)}0-1`,
  ])('%j', (header) => {
    expect(parseRange(header)).toBeUndefined();
    expect(resolveRange(parseRange(header), 10)).toEqual({ kind: 'full' });
  });
});

test('sixteen separate ranges are the most that are honoured', () => {
  const header = (count: number) =>
    `bytes=${Array.from({ length: count }, (_, index) => `${index * 2}-${index * 2}`).join(',')}`;
  expect(resolveRange(parseRange(header(16)), 100)).toMatchObject({ kind: 'multiple' });
  expect(resolveRange(parseRange(header(17)), 100)).toEqual({ kind: 'full' });
});

test('ranges that overlap cannot multiply the work', () => {
  expect(resolveRange(parseRange('bytes=0-9,5-14'), 20)).toEqual({ kind: 'full' });
  expect(resolveRange(parseRange('bytes=0-,0-,0-'), 20)).toEqual({ kind: 'full' });
  expect(resolveRange(parseRange('bytes=0-9,10-19'), 20)).toMatchObject({ kind: 'multiple' });
});

test('no range of an empty blob can be satisfied', () => {
  for (const header of ['bytes=0-', 'bytes=0-0', 'bytes=-1']) {
    expect(resolveRange(parseRange(header), 0)).toEqual({ kind: 'unsatisfiable' });
  }
});

test('Content-Range counts its last byte in', () => {
  expect(contentRange({ start: 0, end: 1 }, 10)).toBe('bytes 0-0/10');
  expect(contentRange({ start: 3, end: 10 }, 10)).toBe('bytes 3-9/10');
});
