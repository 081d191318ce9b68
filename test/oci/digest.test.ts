import fc from 'fast-check';
import { expect, test } from 'vitest';
import { digestAlgorithm, digestHex, parseDigest } from '../../src/oci/digest.ts';
import { mustDigest } from '../helpers/image.ts';
import { digestText } from './arbitraries.ts';

const hex = 'a'.repeat(64);

test('a digest of the grammar is itself, and is made of its algorithm and its hex', () => {
  fc.assert(
    fc.property(digestText, (text) => {
      const digest = mustDigest(text);
      expect(digest).toBe(text);
      expect(`${digestAlgorithm(digest)}:${digestHex(digest)}`).toBe(text);
    }),
  );
});

test('any text is a digest only by the grammar, written here the long way', () => {
  const nearly = fc
    .tuple(
      fc.constantFrom('sha256', 'sha512', 'SHA256', 'sha384', 'md5', 'sha256+b64', ''),
      fc.constantFrom(':', '-', '%3A', '::', ''),
      fc.constantFrom('a', 'f', '0', 'A', 'g', '/', '.', '\n'),
      fc.constantFrom(63, 64, 65, 127, 128, 129),
      fc.constantFrom('', ' ', '\n', '/..', '0'),
    )
    .map(
      ([algorithm, colon, character, length, tail]) => algorithm + colon + character.repeat(length) + tail,
    );
  const isDigest = (text: string) => {
    const [algorithm, hex, ...rest] = text.split(':');
    const length = algorithm === 'sha256' ? 64 : algorithm === 'sha512' ? 128 : undefined;
    if (hex === undefined || rest.length > 0 || hex.length !== length) return false;
    return [...hex].every((character) => '0123456789abcdef'.includes(character));
  };
  fc.assert(
    fc.property(fc.oneof(fc.string(), nearly, digestText), (text) => {
      expect(parseDigest(text)).toBe(isDigest(text) ? text : undefined);
    }),
    { numRuns: 1_000 },
  );
});

test.each([
  `sha256:${hex}\n`,
  ` sha256:${hex}`,
  `sha256:${hex.toUpperCase()}`,
  `sha256:${hex.slice(1)}`,
  `sha512:${hex}`,
  `sha384:${'a'.repeat(96)}`,
  `sha256:${'../'.repeat(21)}a`,
  'latest',
  '',
])('%j is no digest', (text) => {
  expect(parseDigest(text)).toBeUndefined();
});
