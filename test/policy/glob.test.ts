import fc from 'fast-check';
import picomatch from 'picomatch';
import { expect, test } from 'vitest';
import { globSource } from '../../src/policy/glob.ts';

const word = fc.constantFrom('a', 'ab', 'b.c', 'x-1', '.d');
const component = fc.oneof(
  word,
  fc.constantFrom('*', '?', 'a*', '*b', 'a*b', '?b', '[ab]*', '{a,b}', '{a,b*}', 'a{,b}', '(a|ab)'),
);
const components = fc.array(component, { maxLength: 3 });
/** Where `**` follows a wildcard at the end, that library's answer depends on how it is spelt. */
const glob = fc
  .oneof(
    fc.array(component, { minLength: 1, maxLength: 4 }),
    fc
      .tuple(components, word, fc.constant('**'), components)
      .map(([before, ...rest]) => [...before, ...rest.flat()]),
    fc.constant(['**']),
    components.map((after) => ['**', ...after, 'a']),
  )
  .map((parts) => parts.join('/'));
const text = fc.array(word, { minLength: 1, maxLength: 5 }).map((parts) => parts.join('/'));

test('a glob finds what the common glob library finds', () => {
  let found = 0;
  fc.assert(
    fc.property(glob, text, (pattern, candidate) => {
      const expected = picomatch.isMatch(candidate, pattern, { dot: true, nonegate: true, noextglob: true });
      found += expected ? 1 : 0;
      expect(new RegExp(globSource(pattern)).test(candidate)).toBe(expected);
    }),
    { numRuns: 20_000 },
  );
  expect(found).toBeGreaterThan(100);
});

test.each([
  ['[!a]b', 'bb', true],
  ['[!a]b', 'ab', false],
  ['[^a]b', 'ab', false],
  ['x[!a]b', 'x/b', false],
  ['1.2+x', '1.2+x', true],
  ['1.2+x', '1x2+x', false],
])('%s on %s: %s', (pattern, candidate, expected) => {
  expect(new RegExp(globSource(pattern)).test(candidate)).toBe(expected);
});
