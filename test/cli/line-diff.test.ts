import fc from 'fast-check';
import { expect, test } from 'vitest';
import { lineDiff } from '../../src/cli/line-diff.ts';

const letters = (text: string) => [...text].map((letter) => `${letter}\n`).join('');
const compact = (before: string, after: string) =>
  lineDiff(letters(before), letters(after)).trimEnd().split('\n').join(' ');

test.each([
  ['abc', 'abc', ''],
  ['', 'ab', '+a +b'],
  ['ab', '', '-a -b'],
  ['abc', 'axc', ' a -b +x  c'],
  ['abcdefghi', 'abcdXfghi', '...  b  c  d -e +X  f  g  h'],
  ['abcdefghijklmnop', 'Xbcdefghijklmnop', '-a +X  b  c  d'],
  ['abcdefghijklmn', 'Xbcdefghijklmn'.replace('n', 'Y'), '-a +X  b  c  d ...  k  l  m -n +Y'],
])('from %s to %s', (before, after, expected) => {
  expect(compact(before, after).trim()).toBe(expected.trim());
});

test('a missing line end at the end of a file is a difference', () => {
  expect(lineDiff('a\nb', 'a\nb\n')).toContain('-\\ no line end at the end of the file');
});

test('what is marked turns one text into the other, and nothing is marked without need', () => {
  const text = fc.array(fc.constantFrom('a', 'b', 'c'), { maxLength: 6 });
  fc.assert(
    fc.property(text, text, (before, after) => {
      // At most six lines a side: all of them are within the context of a change.
      const diff = lineDiff(letters(before.join('')), letters(after.join('')));
      const lines = diff.split('\n').filter((line) => line !== '' && line !== '...');
      const side = (mark: string) =>
        lines.filter((line) => line.startsWith(' ') || line.startsWith(mark)).map((line) => line.slice(1));
      if (before.join() === after.join()) {
        expect(diff).toBe('');
      } else {
        expect(before.join('')).toContain(side('-').join(''));
        expect(after.join('')).toContain(side('+').join(''));
        const marked = (mark: string) => lines.filter((line) => line.startsWith(mark)).length;
        expect(marked('+') - marked('-')).toBe(after.length - before.length);
      }
    }),
  );
});
