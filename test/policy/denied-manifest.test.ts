import { expect, test } from 'vitest';
import { parseManifest } from '../../src/oci/manifest.ts';
import { DeniedManifests } from '../../src/policy/denied-manifest.ts';
import { digestOf } from '../helpers/image.ts';

const image = 'docker.io/library/nginx';
const message = 'policy: docker.io/library/nginx:latest is denied by rule 1. Pin a version é.';

/** The config of a stand-in. */
function configOf({ bytes, mediaType }: ReturnType<DeniedManifests['make']>) {
  const parsed = parseManifest(bytes, mediaType);
  if (parsed.kind !== 'image') throw new Error('not an image');
  return parsed.config;
}

test('the stand-in is a manifest of its digest, without layers, whose config no engine can run', () => {
  const made = new DeniedManifests().make(image, message);
  expect(made.digest).toBe(digestOf(made.bytes));
  const parsed = parseManifest(made.bytes, made.mediaType);
  expect(parsed).toMatchObject({ kind: 'image', layers: [], subject: undefined });
  expect(configOf(made).mediaType).toBe('application/vnd.denied-by-policy.v1+json');
  expect(configOf(made).mediaType).not.toMatch(/image|docker|oci/);
});

test('the stand-in says why', () => {
  const { bytes } = new DeniedManifests().make(image, message);
  const { annotations } = JSON.parse(bytes.toString()) as { annotations: Record<string, string> };
  expect(Object.values(annotations)).toContain(message);
});

test('the same denial is the same manifest, in another process as well; another image or reason is another', () => {
  const denials = new DeniedManifests();
  const { digest } = denials.make(image, message);
  expect(denials.make(image, message).digest).toBe(digest);
  expect(new DeniedManifests().make(image, message).digest).toBe(digest);
  expect(denials.make('docker.io/library/redis', message).digest).not.toBe(digest);
  expect(denials.make(image, 'another reason').digest).not.toBe(digest);
});

test('a stand-in that was given out is known by its digest, and its config by its reason, in that image alone', () => {
  const denials = new DeniedManifests();
  const made = denials.make(image, message);
  const config = configOf(made);
  expect(denials.manifest(image, made.digest)).toEqual(made);
  expect(denials.reason(image, config.digest)).toBe(message);
  const other = 'docker.io/library/redis';
  expect(denials.manifest(other, made.digest)).toBeUndefined();
  expect(denials.reason(other, config.digest)).toBeUndefined();
  expect(denials.manifest(image, config.digest)).toBeUndefined();
  expect(denials.reason(image, made.digest)).toBeUndefined();
});

test('nothing is known that was not given out', () => {
  const made = new DeniedManifests().make(image, message);
  expect(new DeniedManifests().manifest(image, made.digest)).toBeUndefined();
});

test('what a client asks for over and over does not fill the memory, and what was asked last is kept', () => {
  const denials = new DeniedManifests();
  const [first, second] = [denials.make(image, 'first'), denials.make(image, 'second')];
  for (let count = 0; count < 4_999; count += 1) denials.make(image, `denied ${count}`);
  expect(denials.manifest(image, first.digest)).toBeUndefined();
  expect(denials.reason(image, configOf(first).digest)).toBeUndefined();
  expect(denials.manifest(image, second.digest)).toBeDefined();
  denials.make(image, 'second');
  denials.make(image, 'one more');
  expect(denials.manifest(image, second.digest)).toBeDefined();
});
