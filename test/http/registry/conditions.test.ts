import { expect, test } from 'vitest';
import { etagOf, noneMatch, rangeInForce } from '../../../src/http/registry/conditions.ts';

const etag = etagOf('sha256:ab');

test.each([
  [undefined, false],
  ['', false],
  ['*', true],
  [' * ', true],
  ['"sha256:ab"', true],
  ['W/"sha256:ab"', true],
  ['"other", "sha256:ab"', true],
  ['"other","another"', false],
  ['sha256:ab', false],
  ['"sha256:abc"', false],
  ['w/"sha256:ab"', false],
])('If-None-Match %j names the content: %s', (header, expected) => {
  expect(noneMatch(header, etag)).toBe(expected);
});

test.each([
  [undefined, 'bytes=0-1'],
  ['"sha256:ab"', 'bytes=0-1'],
  [' "sha256:ab" ', 'bytes=0-1'],
  // RFC 9110, section 13.1.5: a weak validator never matches, and neither does a date that was never sent.
  ['W/"sha256:ab"', undefined],
  ['"other"', undefined],
  ['Sat, 01 Jan 2028 00:00:00 GMT', undefined],
])('with If-Range %j the range is %j', (ifRange, expected) => {
  expect(rangeInForce('bytes=0-1', ifRange, etag)).toBe(expected);
});
