import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseVersionTag, versionMatcher } from '../../src/policy/version-tags.ts';

describe('a tag is read as a version', () => {
  test.each([
    ['3', '3.0.0'],
    ['3.10', '3.10.0'],
    ['v3.10', '3.10.0'],
    ['V1.2.3', '1.2.3'],
    ['24.04', '24.4.0'],
    ['2024.1.15', '2024.1.15'],
    ['1.2.3-', '1.2.3'],
  ])('with one to three numbers: %s is %s', (tag, version) => {
    expect(parseVersionTag(tag)?.version).toBe(version);
  });

  test.each([
    ['0.10.4-full', '0.10.4'],
    ['3.12-slim-bookworm', '3.12.0'],
    ['1.27-alpine3.20', '1.27.0'],
    ['22-bookworm-slim', '22.0.0'],
    ['3.5.10-0', '3.5.10'],
    ['1.2.3-debian-12-r5', '1.2.3'],
    ['16.5.1-ce.0', '16.5.1'],
    ['2.440.1-lts-jdk17', '2.440.1'],
    ['2.1.1-cuda12.1-cudnn8-runtime', '2.1.1'],
    ['17.0.9_9-jdk', '17.0.9'],
    ['103.1.0_up0.1.0', '103.1.0'],
    ['1.2.3+build.5', '1.2.3'],
    ['2.0-a100', '2.0.0'],
    ['2.0-b', '2.0.0'],
    ['1.2.3-effaced', '1.2.3'],
  ])('without its variant: %s is %s', (tag, version) => {
    expect(parseVersionTag(tag)?.version).toBe(version);
  });

  test.each([
    ['1.2.3-rc1', '1.2.3-rc.1'],
    ['1.2.3-rc.1', '1.2.3-rc.1'],
    ['1.2.3-rc1-alpine', '1.2.3-rc.1'],
    ['1.2.3-alpine-rc.1', '1.2.3-rc.1'],
    ['1.2.3-rc1-alpine3.19', '1.2.3-rc.1'],
    ['1.2.3_rc1', '1.2.3-rc.1'],
    ['3.13.0rc1-slim', '3.13.0-rc.1'],
    ['3.14.0b01', '3.14.0-b.1'],
    ['17beta1', '17.0.0-beta.1'],
    ['1.22rc2-alpine', '1.22.0-rc.2'],
    ['8.3.0RC6-fpm', '8.3.0-rc.6'],
    ['8.3-rc-fpm', '8.3.0-rc'],
    ['3.0.0-M1', '3.0.0-m.1'],
    ['2.9-dev12', '2.9.0-dev.12'],
    ['1.0.0-SNAPSHOT', '1.0.0-snapshot'],
    ['24-ea-17-slim', '24.0.0-ea.17'],
    ['v2.8-head', '2.8.0-head'],
    ['1.2.3-nightly', '1.2.3-nightly'],
    ['1.2.3-canary.20240131.1a2b3c4', '1.2.3-canary.20240131.1a2b3c4'],
    ['1.2.3-20240131', '1.2.3-20240131'],
    ['1.2.3-2024-01-31-slim', '1.2.3-20240131'],
    ['v1.2.3-14-gabcdef0', '1.2.3-gabcdef0'],
    ['1.2.3-sha1a2b3c4', '1.2.3-sha1a2b3c4'],
    ['1.2.3-0123456', '1.2.3-123456'],
  ])('as a pre-release: %s is %s', (tag, version) => {
    expect(parseVersionTag(tag)?.version).toBe(version);
  });

  test.each([
    '',
    'v',
    'latest',
    'nightly',
    'main-lite',
    'latest-ollama',
    'bookworm',
    'stable-1.2.3',
    '1.2.3.4',
    '2.15.0.post1',
    '2.15.0post1',
    '8u392-b08-jdk',
    '1..2',
    '20240131',
    'v20231011-8b53cabe0',
    '1700000000',
    '1234567',
    '2024-01-31',
    '1.18446744073709551616',
    'RELEASE.2023-11-01T01-57-10Z',
    '1a2b3c4',
  ])('unless it is none: %s', (tag) => {
    expect(parseVersionTag(tag)).toBeUndefined();
    expect(versionMatcher('*')(tag)).toBe(false);
  });

  test('whatever the tag, without failing', () => {
    const piece = fc.constantFrom(
      'v',
      '1',
      '02',
      '.',
      '-',
      '_',
      'rc',
      'b1',
      'alpine',
      '20240131',
      'abcdef1',
      '0',
      '99999999999999999',
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 12 }), (pieces) => {
        const version = parseVersionTag(pieces.join(''));
        expect(version === undefined || /^\d+\.\d+\.\d+(?:-[a-z0-9.]+)?$/.test(version.version)).toBe(true);
      }),
      { numRuns: 2000 },
    );
  });
});

describe('a range', () => {
  test.each([
    ['>=1.4.0 <2', '1.4', true],
    ['>=1.4.0 <2', 'v1.9.9-slim', true],
    ['>=1.4.0 <2', '2', false],
    ['>=v1.4 <v2', '1.5', true],
    ['3.10', '3.10.14-slim', true],
    ['3.10', '3.11', false],
    ['^0.10', '0.10.4-full', true],
    ['^0.10', '0.11.0-lite', false],
    ['1.x || 3.X', '3.2', true],
    ['1.2 - 1.4', '1.4.9', true],
    ['*', '7', true],
    ['*', '7-rc1', false],
    ['<2', '1.9.0-rc1', false],
    ['>=1.2.3-rc2', '1.2.3-rc10', true],
    ['>=1.2.3-rc.2', '1.2.3-rc10', true],
    ['>=1.2.3-RC10', '1.2.3-rc9', false],
    ['>=1.2.3-rc1', '1.2.4-rc1', false],
    ['>=1.2.3-m2', '1.2.3-M10-slim', true],
    ['>=24.4', '24.04', true],
  ])('%s on %s: %s', (range, tag, expected) => {
    expect(versionMatcher(range)(tag)).toBe(expected);
  });

  test.each(['', '  ', 'latest', '3.12-slim', '>=1,<2', '>>1', '1.2.3.4', '99999999999999999999'])(
    'is refused when it is none: "%s"',
    (range) => {
      expect(() => versionMatcher(range)).toThrow(TypeError);
      expect(() => versionMatcher(range)).toThrow('is no version range such as');
    },
  );
});
