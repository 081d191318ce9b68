import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { OciError } from '../../src/oci/errors.ts';
import { parseManifest } from '../../src/oci/manifest.ts';
import { mediaTypes } from '../../src/oci/media-types.ts';
import { makeArtifact, makeImage, makeIndex, mustDigest } from '../helpers/image.ts';

const digest = `sha256:${'ab'.repeat(32)}`;
const descriptor = { mediaType: 'application/octet-stream', digest, size: 3 };
const image = {
  schemaVersion: 2,
  mediaType: mediaTypes.ociManifest,
  config: descriptor,
  layers: [descriptor],
};
const index = { schemaVersion: 2, mediaType: mediaTypes.ociIndex, manifests: [descriptor] };

function parse(document: unknown, mediaType: string) {
  return parseManifest(Buffer.from(JSON.stringify(document)), mediaType);
}

/** The code of the `OciError` that a parse ends in; anything else thrown fails the test. */
function refusal(work: () => unknown): string {
  try {
    work();
  } catch (error) {
    if (error instanceof OciError) return error.code;
    throw error;
  }
  return 'accepted';
}

describe('a real manifest', () => {
  test.each(['oci', 'docker'] as const)('of an image (%s) names its config and its layers', (format) => {
    const made = makeImage({ format });
    const parsed = parseManifest(made.manifest.bytes, made.manifest.mediaType);
    expect(parsed).toMatchObject({
      kind: 'image',
      mediaType: made.manifest.mediaType,
      config: { digest: made.config.digest, size: made.config.bytes.length, platform: undefined },
      layers: made.layers.map((layer) => ({ digest: layer.digest, size: layer.bytes.length })),
      subject: undefined,
    });
  });

  test.each(['oci', 'docker'] as const)(
    'of an index (%s) names its manifests and their platforms',
    (format) => {
      const made = makeIndex({ format });
      const parsed = parseManifest(made.manifest.bytes, made.manifest.mediaType);
      expect(parsed).toMatchObject({
        kind: 'index',
        manifests: made.images.map((child) => {
          const [os, architecture] = child.platform.split('/');
          return { digest: child.manifest.digest, platform: { os, architecture, variant: undefined } };
        }),
      });
    },
  );

  test('of an artifact names its subject', () => {
    const subject = makeImage();
    const { manifest } = makeArtifact(subject.manifest);
    expect(parseManifest(manifest.bytes, manifest.mediaType)).toMatchObject({
      kind: 'image',
      subject: { digest: subject.manifest.digest },
    });
  });

  test('need not name its own media type', () => {
    const { mediaType: _, ...nameless } = image;
    expect(parse(nameless, mediaTypes.dockerManifest)).toMatchObject({
      mediaType: mediaTypes.dockerManifest,
    });
  });

  test('loses the urls of foreign layers, which are never fetched', () => {
    const foreign = { ...descriptor, urls: ['http://127.0.0.1/layer'] };
    const parsed = parse({ ...image, layers: [foreign] }, mediaTypes.ociManifest);
    expect(JSON.stringify(parsed)).not.toContain('127.0.0.1');
    expect(parsed).toMatchObject({ layers: [{ digest: mustDigest(digest) }] });
  });
});

describe('refused as MANIFEST_INVALID', () => {
  const cases: Record<string, [unknown, string]> = {
    'a list': [[image], mediaTypes.ociManifest],
    null: [null, mediaTypes.ociManifest],
    'schema version 1': [{ ...image, schemaVersion: 1 }, mediaTypes.ociManifest],
    'schema version "2"': [{ ...image, schemaVersion: '2' }, mediaTypes.ociManifest],
    'another media type than it was served with': [image, mediaTypes.dockerManifest],
    'a media type that is no text': [{ ...image, mediaType: null }, mediaTypes.ociManifest],
    'an image served as an index': [{ ...image, mediaType: undefined }, mediaTypes.ociIndex],
    'an index served as an image': [{ ...index, mediaType: undefined }, mediaTypes.ociManifest],
    'no layers': [{ ...image, layers: undefined }, mediaTypes.ociManifest],
    'no config': [{ ...image, config: undefined }, mediaTypes.ociManifest],
    'layers that are no list': [{ ...image, layers: { 0: descriptor } }, mediaTypes.ociManifest],
    'a descriptor without a media type': [{ ...image, config: { digest, size: 1 } }, mediaTypes.ociManifest],
    'a digest in upper case': [
      { ...image, config: { ...descriptor, digest: digest.toUpperCase() } },
      mediaTypes.ociManifest,
    ],
    'a digest with a path in it': [
      { ...index, manifests: [{ ...descriptor, digest: 'sha256:../../etc/passwd' }] },
      mediaTypes.ociIndex,
    ],
    'a negative size': [{ ...index, manifests: [{ ...descriptor, size: -1 }] }, mediaTypes.ociIndex],
    'a fractional size': [{ ...index, manifests: [{ ...descriptor, size: 0.5 }] }, mediaTypes.ociIndex],
    'a size beyond what can be counted': [
      { ...index, manifests: [{ ...descriptor, size: 2 ** 60 }] },
      mediaTypes.ociIndex,
    ],
    'a malformed subject': [{ ...index, subject: {} }, mediaTypes.ociIndex],
    'too many children': [
      { ...index, manifests: Array.from({ length: 2_001 }, () => descriptor) },
      mediaTypes.ociIndex,
    ],
    'a type that is no manifest': [image, 'application/json'],
  };

  test.each(Object.entries(cases))('%s', (_name, [document, mediaType]) => {
    expect(refusal(() => parse(document, mediaType))).toBe('MANIFEST_INVALID');
  });

  test.each([
    ['text', Buffer.from('<html>')],
    ['nothing', Buffer.alloc(0)],
    ['bytes that are not UTF-8', Buffer.from([0x7b, 0xff, 0x7d])],
    ['a document cut short', Buffer.from(JSON.stringify(image)).subarray(0, -1)],
  ])('%s', (_name, bytes) => {
    expect(refusal(() => parseManifest(bytes, mediaTypes.ociManifest))).toBe('MANIFEST_INVALID');
  });

  test('a media type of its own that is nested beyond any stack', () => {
    const depth = 200_000;
    const nested = `${'['.repeat(depth)}${']'.repeat(depth)}`;
    const bytes = Buffer.from(`{"schemaVersion":2,"mediaType":${nested}}`);
    expect(refusal(() => parseManifest(bytes, mediaTypes.ociManifest))).toBe('MANIFEST_INVALID');
  });
});

test('schema 1 is refused with the next step', () => {
  const type = 'application/vnd.docker.distribution.manifest.v1+prettyjws';
  expect(refusal(() => parse({ schemaVersion: 1 }, type))).toBe('UNSUPPORTED');
});

test('a document that could be read as a manifest and as an index is refused under every type', () => {
  const presence = fc.constantFrom(undefined, null, [], {}, [descriptor], descriptor);
  fc.assert(
    fc.property(
      fc.constantFrom(...Object.values(mediaTypes)),
      fc.boolean(),
      fc.constantFrom('layers', 'config', 'both'),
      presence.filter((value) => value !== undefined),
      presence.filter((value) => value !== undefined),
      (type, named, which, manifests, other) => {
        const document = {
          schemaVersion: 2,
          ...(named && { mediaType: type }),
          manifests,
          ...(which !== 'config' && { layers: other }),
          ...(which !== 'layers' && { config: other }),
        };
        expect(refusal(() => parse(document, type))).toBe('MANIFEST_INVALID');
      },
    ),
  );
});

test('arbitrary JSON under any media type is parsed or refused, never a crash', () => {
  const value = fc.oneof(
    fc.jsonValue({ maxDepth: 4 }),
    fc.constant(descriptor),
    fc.array(fc.constant(descriptor)),
  );
  const shaped = fc.record(
    {
      schemaVersion: fc.constantFrom(2, 1, '2'),
      mediaType: fc.oneof(fc.constantFrom(...Object.values(mediaTypes)), fc.jsonValue({ maxDepth: 2 })),
      config: value,
      layers: value,
      manifests: value,
      subject: value,
      __proto__: value,
    },
    { requiredKeys: [] },
  );
  const text = fc.oneof(
    fc.json(),
    fc.string(),
    shaped.map((document) => JSON.stringify(document)),
  );
  fc.assert(
    fc.property(text, fc.oneof(fc.constantFrom(...Object.values(mediaTypes)), fc.string()), (json, type) => {
      const code = refusal(() => {
        const parsed = parseManifest(Buffer.from(json), type);
        const children = parsed.kind === 'index' ? parsed.manifests : [parsed.config, ...parsed.layers];
        for (const child of children) {
          expect(child.digest).toMatch(/^sha(256:[0-9a-f]{64}|512:[0-9a-f]{128})$/);
          expect(Number.isSafeInteger(child.size) && child.size >= 0).toBe(true);
        }
      });
      expect(['accepted', 'MANIFEST_INVALID', 'UNSUPPORTED']).toContain(code);
    }),
    { numRuns: 2_000 },
  );
});

test.each(['Layers', 'CONFIG', 'Manifests', 'mediatype'])(
  'a key written as %s is refused: Go clients would read it',
  (key) => {
    const bytes = Buffer.from(JSON.stringify({ schemaVersion: 2, manifests: [], [key]: [] }));
    expect(() => parseManifest(bytes, 'application/vnd.oci.image.index.v1+json')).toThrow(
      /written in another case/,
    );
  },
);
