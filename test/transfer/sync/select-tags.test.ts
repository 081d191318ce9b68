import fc from 'fast-check';
import { expect, test } from 'vitest';
import { selectTags } from '../../../src/transfer/sync/select-tags.ts';

const listed = [
  '1.3.9',
  '1.4.0',
  '1.4.0-slim',
  '1.10.0',
  '1.10.0-slim',
  'v2.0.0-rc.1',
  '2.0.0',
  'latest',
  'nightly',
  `sha256-${'a'.repeat(64)}.sig`,
];

test.each([
  [
    'all of them',
    { tags: ['*'] },
    ['2.0.0', 'v2.0.0-rc.1', '1.10.0', '1.10.0-slim', '1.4.0', '1.4.0-slim', '1.3.9', 'latest', 'nightly'],
  ],
  ['a range', { semver: '>=1.4.0 <2' }, ['1.10.0', '1.10.0-slim', '1.4.0', '1.4.0-slim']],
  ['a range and a glob', { semver: '>=1.4.0', tags: ['*-slim'] }, ['1.10.0-slim', '1.4.0-slim']],
  ['a glob', { tags: ['*-slim', 'latest'] }, ['1.10.0-slim', '1.4.0-slim', 'latest']],
  ['an expression', { tags: ['/^1\\.4/'] }, ['1.4.0', '1.4.0-slim']],
  ['the newest versions with their variants', { newest: 2 }, ['2.0.0', '1.10.0', '1.10.0-slim']],
  ['the newest of a range', { newest: 1, semver: '<2' }, ['1.10.0', '1.10.0-slim']],
  ['the newest of a glob', { newest: 1, tags: ['*-slim'] }, ['1.10.0-slim']],
  ['the newest of a glob that names pre-releases', { newest: 1, tags: ['v*'] }, ['v2.0.0-rc.1']],
  ['more than there are', { newest: 9, semver: '2.x' }, ['2.0.0']],
  ['nothing', { tags: ['windows-*'] }, []],
])('%s: %j', (_, selection, expected) => {
  expect(selectTags(listed, selection)).toEqual(expected);
});

test('the order of the list and what is listed twice make no difference', () => {
  fc.assert(
    fc.property(fc.shuffledSubarray(listed, { minLength: listed.length }), (shuffled) => {
      const doubled = [...shuffled, ...shuffled.slice(0, 3)];
      expect(selectTags(doubled, { newest: 3 })).toEqual(selectTags(listed, { newest: 3 }));
    }),
  );
});

test('what is no tag is passed over, and a pattern that is none is refused', () => {
  expect(selectTags(['../x', '', 'ok'], { tags: ['*'] })).toEqual(['ok']);
  expect(() => selectTags([], { tags: ['/(a)\\1/'] })).toThrow(TypeError);
});
