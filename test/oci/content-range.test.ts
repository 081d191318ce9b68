import fc from 'fast-check';
import { expect, it } from 'vitest';
import { parseContentRange } from '../../src/oci/content-range.ts';

it.each([
  ['bytes 0-0/1', { kind: 'range', start: 0, end: 0, total: 1 }],
  ['Bytes 5-9/*', { kind: 'range', start: 5, end: 9, total: undefined }],
  ['bytes */77', { kind: 'unsatisfied', total: 77 }],
])('%s is understood', (text, expected) => {
  expect(parseContentRange(text)).toEqual(expected);
});

it.each([
  '',
  'bytes',
  'bytes 5-4/10',
  'bytes 5-10/10',
  'bytes -5/10',
  'bytes 5-/10',
  'bytes */*',
  'bytes 0-9',
  'bytes 0 - 9/10',
  'bytes 0-9/10, bytes 0-9/10',
  'items 0-9/10',
  ' bytes 0-9/10',
  'bytes 0-9007199254740993/*',
  'bytes 0-9/99999999999999999',
])('%j is malformed', (text) => {
  expect(parseContentRange(text)).toBeUndefined();
});

it('reads back every range', () => {
  fc.assert(
    fc.property(
      fc.nat(),
      fc.nat(),
      fc.option(fc.nat({ max: 1000 }), { nil: undefined }),
      (start, span, rest) => {
        const end = start + span;
        const total = rest === undefined ? undefined : end + 1 + rest;
        expect(parseContentRange(`bytes ${start}-${end}/${total ?? '*'}`)).toEqual({
          kind: 'range',
          start,
          end,
          total,
        });
      },
    ),
  );
});
