import { expect, test } from 'vitest';
import { isPlatform, isPlatformText } from '../../src/oci/platform.ts';

test.each([
  ['linux/amd64', 'linux/amd64', true],
  ['linux/arm64/v8', 'linux/arm64', true],
  ['linux/arm/v7', 'linux/arm/v7', true],
  ['linux/arm/v6', 'linux/arm/v7', false],
  ['linux/arm64', 'linux/arm', false],
  ['linux/arm', 'linux/arm/v7', false],
])('%s where %s is wanted: %s', (platform, wanted, expected) => {
  expect(isPlatform(platform, wanted)).toBe(expected);
});

test.each([
  ['linux/amd64', true],
  ['linux/arm/v7', true],
  ['linux', false],
  ['linux/', false],
  ['Linux/AMD64', false],
  ['linux/arm/v7/x', false],
  ['linux/amd64,linux/arm64', false],
])('"%s" is a platform: %s', (text, expected) => {
  expect(isPlatformText(text)).toBe(expected);
});
