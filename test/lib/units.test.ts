import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { formatDuration, formatSize, parseDuration, parseSize } from '../../src/lib/units.ts';

describe('parseDuration', () => {
  test.each([
    ['250ms', 250],
    ['0s', 0],
    ['5m', 300_000],
    ['5ms', 5],
    ['1h30m', 5_400_000],
    ['1d2h3m4s5ms', 93_784_005],
    ['30d', 2_592_000_000],
  ])('reads %s as %i ms', (text, expected) => {
    expect(parseDuration(text)).toBe(expected);
  });

  test.each([
    '',
    '5',
    '5 m',
    'm',
    '-5m',
    '1.5h',
    '5M',
    '30m1h',
    '1h1h',
    '5mm',
    ' 5m',
    '5m\n',
    '99999999999999999d',
  ])('refuses %j', (text) => {
    expect(parseDuration(text)).toBeUndefined();
  });

  test('reads back every duration that formatDuration writes', () => {
    fc.assert(
      fc.property(fc.maxSafeNat(), (milliseconds) => {
        expect(parseDuration(formatDuration(milliseconds))).toBe(milliseconds);
      }),
    );
  });

  test('gives a safe whole number or nothing for any text', () => {
    const unitText = fc.stringMatching(/^[0-9]{0,20}(ms|[dhms])([0-9]{1,3}(ms|[dhms]))?$/);
    fc.assert(
      fc.property(fc.oneof(fc.string(), unitText), (text) => {
        const value = parseDuration(text);
        expect(value === undefined || (Number.isSafeInteger(value) && value >= 0)).toBe(true);
      }),
    );
  });
});

describe('formatDuration', () => {
  test.each([
    [0, '0s'],
    [250, '250ms'],
    [60_000, '1m'],
    [90_000, '1m30s'],
    [5_400_000, '1h30m'],
    [129_600_000, '1d12h'],
  ])('writes %i ms as %s', (milliseconds, expected) => {
    expect(formatDuration(milliseconds)).toBe(expected);
  });
});

describe('parseSize', () => {
  test.each([
    ['512', 512],
    ['512B', 512],
    ['4MiB', 4_194_304],
    ['10GB', 10_000_000_000],
    ['200GiB', 214_748_364_800],
    ['1.5KiB', 1536],
    ['1.0001KB', 1000],
    ['1kb', 1000],
    ['1TiB', 1_099_511_627_776],
    ['2PiB', 2_251_799_813_685_248],
  ])('reads %s as %i bytes', (text, expected) => {
    expect(parseSize(text)).toBe(expected);
  });

  test.each(['', 'B', '4M', '4iB', '-1KB', '4 MiB', '1e3', '.5GB', '4MiBs', '9PiB', '4MiB\n'])(
    'refuses %j',
    (text) => {
      expect(parseSize(text)).toBeUndefined();
    },
  );

  test('reads back what formatSize writes to within 5 percent', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 2 ** 52 }), (bytes) => {
        const back = parseSize(formatSize(bytes)) ?? Number.NaN;
        expect(Math.abs(back - bytes)).toBeLessThanOrEqual(bytes * 0.05);
      }),
    );
  });

  test('gives a safe whole number or nothing for any text', () => {
    const unitText = fc.stringMatching(/^[0-9]{0,20}(\.[0-9]{1,20})?[KMGTPkmgtp]?i?[bB]?$/);
    fc.assert(
      fc.property(fc.oneof(fc.string(), unitText), (text) => {
        const value = parseSize(text);
        expect(value === undefined || (Number.isSafeInteger(value) && value >= 0)).toBe(true);
      }),
    );
  });
});

describe('formatSize', () => {
  test.each([
    [0, '0B'],
    [512, '512B'],
    [1023, '1023B'],
    [1536, '1.5KiB'],
    [4_194_304, '4MiB'],
    [1_048_575, '1MiB'],
    [214_748_364_800, '200GiB'],
  ])('writes %i bytes as %s', (bytes, expected) => {
    expect(formatSize(bytes)).toBe(expected);
  });
});
