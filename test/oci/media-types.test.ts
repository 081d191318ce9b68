import { expect, test } from 'vitest';
import {
  bareMediaType,
  isIndexMediaType,
  isManifestMediaType,
  isSchema1MediaType,
  manifestAccept,
  mediaTypes,
} from '../../src/oci/media-types.ts';

test.each([
  ['application/json', 'application/json'],
  ['Application/JSON; charset=utf-8', 'application/json'],
  ['  application/json ;q=1', 'application/json'],
  ['', ''],
  [';', ''],
])('%j without its parameters is %j', (value, bare) => {
  expect(bareMediaType(value)).toBe(bare);
});

test('each type served is a manifest or an index, and none is schema 1', () => {
  const indexes = Object.values(mediaTypes).filter(isIndexMediaType);
  expect(indexes).toEqual([mediaTypes.ociIndex, mediaTypes.dockerList]);
  for (const type of Object.values(mediaTypes)) {
    expect(isManifestMediaType(type)).toBe(true);
    expect(isSchema1MediaType(type)).toBe(false);
  }
});

test('schema 1, and what is no manifest at all, are not served', () => {
  const v1 = 'application/vnd.docker.distribution.manifest.v1+';
  for (const type of [`${v1}json`, `${v1}prettyjws`]) {
    expect(isSchema1MediaType(type)).toBe(true);
    expect(isManifestMediaType(type)).toBe(false);
  }
  for (const type of ['', 'text/html', 'application/json', 'toString', mediaTypes.ociIndex.toUpperCase()]) {
    expect(isManifestMediaType(type)).toBe(false);
    expect(isSchema1MediaType(type)).toBe(false);
  }
});

test('upstream is asked for each served type once and for nothing else', () => {
  expect(manifestAccept.split(', ').toSorted()).toEqual(Object.values(mediaTypes).toSorted());
});
