import { expect, test } from 'vitest';
import { attestedBy } from '../../src/oci/attestation.ts';
import { makeBlob } from '../helpers/image.ts';

const [image, attestation] = [makeBlob('image', 1).digest, makeBlob('attestation', 1).digest];
const index = (manifests: unknown) => Buffer.from(JSON.stringify({ schemaVersion: 2, manifests }));

test('the entries of an index that are about others are found', () => {
  const annotations = { 'vnd.docker.reference.type': 'attestation-manifest' };
  const found = attestedBy(
    index([
      { digest: image },
      { digest: attestation, annotations: { ...annotations, 'vnd.docker.reference.digest': image } },
    ]),
  );
  expect([...found]).toEqual([[attestation, image]]);
});

test.each([
  ['no JSON', Buffer.from('{')],
  ['no object', Buffer.from('null')],
  ['no index', Buffer.from('{"manifests":7}')],
  ['entries that are none', index([null, 7, { digest: 'x' }, { digest: attestation, annotations: 'x' }])],
  [
    'a reference that is no digest',
    index([{ digest: attestation, annotations: { 'vnd.docker.reference.digest': 'x' } }]),
  ],
  [
    'an entry about itself',
    index([{ digest: image, annotations: { 'vnd.docker.reference.digest': image } }]),
  ],
])('%s holds none', (_what, bytes) => {
  expect(attestedBy(bytes).size).toBe(0);
});
