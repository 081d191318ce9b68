import { describe, expect, test } from 'vitest';
import { imageMatcher, tagMatcher } from '../../src/policy/patterns.ts';

describe('a glob over images', () => {
  test.each([
    ['**', 'docker.io/library/nginx', true],
    ['ghcr.io/*', 'ghcr.io/org/app', false],
    ['ghcr.io/**', 'ghcr.io/org/app', true],
    ['ghcr.io/**', 'ghcr.io.evil.example/org/app', false],
    ['ghcr.io/**', 'evil.example/ghcr.io/org', false],
    ['ghcr.io/org/app', 'ghcr.io/org/app2', false],
    ['ghcr.io/org/app', 'ghcrxio/org/app', false],
    ['ghcr.io/org/app*', 'ghcrxio/org/app', false],
    ['*/library/nginx', 'docker.io/library/nginx', true],
    ['{docker,quay}.io/**', 'quay.io/org/app', true],
    ['!ghcr.io/**', 'docker.io/library/nginx', false],
    ['localhost:5000/**', 'localhost:5000/app', true],
  ])('%s on %s: %s', (glob, image, expected) => {
    expect(imageMatcher([glob])(image)).toBe(expected);
  });
});

describe('a pattern over tags', () => {
  test.each([
    ['1.2', '1.2', true],
    ['1.2', '1x2', false],
    ['1.2', '1.2.3', false],
    ['1.2*', '1x2', false],
    ['*-nightly', 'main-nightly', true],
    ['*-nightly', 'nightly', false],
    ['v?', 'v1', true],
    ['/^v\\d+$/', 'v12', true],
    ['/^v\\d+$/', 'xv12', false],
    ['/nightly/', 'v1-nightly-2', true],
    ['/Nightly/', 'nightly', false],
  ])('%s on %s: %s', (pattern, tag, expected) => {
    expect(tagMatcher([pattern])?.(tag)).toBe(expected);
  });

  test('is one of several', () => {
    const matches = tagMatcher(['latest', '/^edge/']);
    expect(['latest', 'edge-1', 'v1'].map((tag) => matches?.(tag))).toEqual([true, true, false]);
  });

  test.each(['*', '**'])('that is %s selects nothing', (glob) => {
    expect(tagMatcher([glob, 'latest'])).toBeUndefined();
  });

  test('matches no tag when there is none', () => {
    expect(tagMatcher([])?.('latest')).toBe(false);
  });

  test.each([
    ['/v1', 'between two slashes'],
    ['/v1/i', 'between two slashes'],
    ['//', 'between two slashes'],
    ['/(/', 'not a regular expression'],
    ['/(a)\\1/', 'not a regular expression'],
    ['/^(?!latest$)/', 'not a regular expression'],
    ['a{b', 'does not close'],
    ['a)', 'does not open'],
    ['[a', 'half a bracket'],
    ['', 'empty'],
  ])('is refused by name: %s', (pattern, why) => {
    expect(() => tagMatcher([pattern])).toThrow(TypeError);
    expect(() => tagMatcher([pattern])).toThrow(`the pattern ${pattern} cannot be used: `);
    expect(() => tagMatcher([pattern])).toThrow(why);
  });

  test.each(['/^(\\d+\\.?)+$/', `${'*1'.repeat(8)}*x`])('takes no long time on any tag: %s', (pattern) => {
    const started = process.cpuUsage();
    expect(tagMatcher([pattern])?.(`${'1'.repeat(127)}_`)).toBe(false);
    expect(process.cpuUsage(started).user).toBeLessThan(1_000_000);
  });
});
