import fc from 'fast-check';
import picomatch from 'picomatch';
import { Range } from 'semver';
import { describe, expect, test } from 'vitest';
import {
  readDigest,
  readImageGlob,
  readSemverRange,
  readTagPattern,
} from '../../src/config/schema/selectors.ts';

type Read = typeof readDigest;
const message = (read: Read, text: string): string => {
  const reading = read(text);
  return reading.kind === 'refused' ? reading.message : 'accepted';
};

describe('a version range', () => {
  test.each([
    '*',
    'x',
    '3',
    '3.10',
    'v3.10',
    '3.10.x',
    '1.2.3',
    '=1.2.3',
    '^3.10',
    '~1.2.3',
    '~>1.2',
    '>=2 <4',
    '>= 2.0.0 < 4',
    '>=v1.2.3-rc.1',
    '1.2.3-rc1+build.5',
    '1.2 - v1.4',
    '3.x || 5.x||>=7',
    ' ^1.2 ',
  ])('%j is accepted', (text) => {
    expect(readSemverRange(text)).toEqual({ kind: 'value', value: text });
    expect(() => new Range(text)).not.toThrow();
  });

  test.each([
    '',
    ' ',
    'latest',
    '3.10 ||',
    '>=1, <2',
    '>=',
    '=>1',
    '1.2.3.4',
    '01.2',
    '2024.01',
    '1.2.3-01',
    '3.10-slim',
    '1 - 2 - 3',
    '>1.2.3 - 2',
    '^^1',
    '1..2',
    '*.1',
    'x.x.1',
    '1.2.3-',
    '9007199254740992',
    `^1${' <2'.repeat(100)}`,
  ])('%j is refused', (text) => {
    expect(message(readSemverRange, text)).toContain('must be a version range as npm writes them');
  });

  test('that is accepted is one for npm too, whatever it is made of', () => {
    const piece = fc.constantFrom(
      ...[
        '^',
        '~',
        '>=',
        '<',
        '=',
        '>',
        '~>',
        ' ',
        ' - ',
        '||',
        '.',
        '-',
        '+',
        'v',
        'x',
        '*',
        'rc',
        'rc1',
        '-a',
      ],
      ...['0', '1', '10', '01', '1.2', '1.2.3', '3.10', '1.2.3-rc.1', '999999999999999'],
    );
    let accepted = 0;
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 8 }), (pieces) => {
        const text = pieces.join('');
        if (readSemverRange(text).kind === 'refused') return;
        accepted += 1;
        expect(() => new Range(text)).not.toThrow();
      }),
      { numRuns: 10_000 },
    );
    expect(accepted).toBeGreaterThan(200);
  });
});

describe('a selector of tags', () => {
  test.each([
    'latest',
    '*-nightly',
    '3.1[0-2]*',
    '{main,latest}-*',
    'v?.?',
    '/^v[0-9]+$/',
    '/slim/',
    '/^[/]$/',
    '/a/b/',
  ])('%j is accepted', (text) => {
    expect(readTagPattern(text)).toEqual({ kind: 'value', value: text });
  });

  test.each([
    '',
    ' latest',
    'python:3.10',
    'library/python',
    '^v\\d+$',
    '3.1[0-2',
    '{a,b',
    'a}',
    '([)]',
    'a@b',
  ])('%j is refused', (text) => {
    expect(message(readTagPattern, text)).toContain(
      'must be a glob of tags, such as *-nightly, or a regular',
    );
  });

  test.each(['/', '//', '/a', '/a/i'])('%j is refused as half a regular expression', (text) => {
    expect(message(readTagPattern, text)).toContain('stands between two slashes');
  });

  test.each(['/(/', '/[/', '/a**/', '/\\/'])('%j is refused as no regular expression', (text) => {
    expect(message(readTagPattern, text)).toBe('this is no regular expression');
  });
});

describe('a glob of images', () => {
  const matches = (glob: string, image: string) => {
    return picomatch(glob, { dot: true, nonegate: true, noextglob: true })(image);
  };

  test.each([
    ['**', 'docker.io/library/python'],
    ['docker.io/library/*', 'docker.io/library/python'],
    ['ghcr.io/org/**', 'ghcr.io/org/a/b'],
    ['**/python', 'docker.io/library/python'],
    ['localhost:5000/app', 'localhost:5000/app'],
    ['{docker.io,quay.io}/**', 'quay.io/a/b'],
    ['*/library/*', 'docker.io/library/python'],
    ['docker.io/library/pyth?n', 'docker.io/library/python'],
  ])('%j is accepted, and matches %s', (glob, image) => {
    expect(readImageGlob(glob)).toEqual({ kind: 'value', value: glob });
    expect(matches(glob, image)).toBe(true);
  });

  test.each([
    ['*', 'matches no image'],
    ['docker.io', 'matches no image'],
    ['localhost:5000', 'matches no image'],
    ['ghcr.io/Org/**', 'must be lower case'],
    ['docker.io/library/python:3.10', 'must name no tag and no digest'],
    ['**:latest', 'must name no tag and no digest'],
    ['docker.io/library/{a,b', 'must be a glob of registry/repository'],
    ['docker.io/a b', 'must be a glob of registry/repository'],
    ['docker.io/a@sha256:b', 'must name no tag and no digest'],
    ['/docker.io\\/a/', 'must be a glob of registry/repository'],
  ])('%j is refused: it %s', (glob, expected) => {
    expect(message(readImageGlob, glob)).toContain(expected);
  });
});

describe('a digest', () => {
  test('is of sha256 or sha512, in lower case', () => {
    expect(readDigest(`sha256:${'a'.repeat(64)}`).kind).toBe('value');
    expect(readDigest(`sha512:${'0'.repeat(128)}`).kind).toBe('value');
    for (const text of ['', 'a'.repeat(64), `sha256:${'A'.repeat(64)}`, `sha256:${'a'.repeat(63)}`]) {
      expect(message(readDigest, text)).toContain('must be a digest');
    }
    expect(message(readDigest, `sha512:${'0'.repeat(64)}`)).toContain('must be a digest');
    expect(message(readDigest, `sha256:${'0'.repeat(64)}\n`)).toContain('must be a digest');
  });
});
