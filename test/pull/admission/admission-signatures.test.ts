import { expect, test } from 'vitest';
import type { Digest } from '../../../src/oci/digest.ts';
import type { PolicyRule } from '../../../src/policy/rules.ts';
import { keyOf } from '../../../src/pull/repository.ts';
import { makeArtifact, makeImage } from '../../helpers/image.ts';
import { mustTag } from '../../helpers/stored.ts';
import { bad, good, goodImage, must, notLatest, onlyV1, scene, v1 } from './admission-scene.ts';

test('a signature, an SBOM and the fallback tag of referrers are judged by the digest that they are about', async () => {
  const { tag, digest, pulled } = await scene([onlyV1], { fallback: 'deny' });
  const derived = (about: Digest, suffix: string) => mustTag(`${about.replace(':', '-')}${suffix}`);
  await pulled(good.manifest, v1);
  for (const suffix of ['', '.sig', '.att', '.sbom']) {
    expect(await tag(derived(good.manifest.digest, suffix))).toBe('needs');
    expect(await tag(derived(bad.manifest.digest, suffix))).toBe('deny');
  }
  // What such a tag leads to is served by digest as well, and a signature of the signature.
  const signature = makeArtifact(bad.manifest, { seed: 'signature' });
  expect(await digest(signature.manifest.digest)).toBe('deny');
  await pulled(signature.manifest, derived(good.manifest.digest, '.sig'));
  expect(await digest(signature.manifest.digest)).toBe('allow');
  expect(await digest(must(signature.layers[0]).digest)).toBe('allow');
  expect(await tag(derived(good.manifest.digest, '.sig'), signature.manifest.digest)).toBe('allow');
  expect(await tag(derived(good.manifest.digest, '.sig'), bad.manifest.digest)).toBe('deny');
  expect(await tag(derived(bad.manifest.digest, '.sig'), signature.manifest.digest)).toBe('deny');
  expect(await tag(derived(signature.manifest.digest, '.sig'))).toBe('needs');
});

test('a rule that denies an image of an index by its digest reaches what a tag derived from it names', async () => {
  const deny: PolicyRule = { images: ['**'], digests: [goodImage.manifest.digest], action: 'deny' };
  const { digest, pulled } = await scene([deny]);
  await pulled(good.manifest, v1);
  for (const [about, expected] of [
    [goodImage, 'deny'],
    [must(good.images[1]), 'allow'],
  ] as const) {
    const signature = makeImage({ seed: `signature ${expected}` });
    await pulled(signature.manifest, mustTag(`${about.manifest.digest.replace(':', '-')}.sig`));
    expect(await digest(signature.manifest.digest)).toBe(expected);
  }
});

test('signatures that are about each other come to an end', async () => {
  const [one, other] = [makeArtifact(good.manifest), makeArtifact(bad.manifest)];
  const { digest, pulled } = await scene([onlyV1], { fallback: 'deny' });
  await pulled(one.manifest, mustTag(`${other.manifest.digest.replace(':', '-')}.sig`));
  await pulled(other.manifest, mustTag(`${one.manifest.digest.replace(':', '-')}.sig`));
  expect(await digest(one.manifest.digest)).toBe('deny');
});

test('a sha512 signature, of whose subject the tag holds half, is served only where everything is', async () => {
  const half = mustTag(`sha512-${'a'.repeat(64)}.sig`);
  expect(await (await scene([notLatest])).tag(half)).toBe('deny');
  expect(await (await scene([])).tag(half)).toBe('allow');
});

test('what refers to an allowed image is served: by its own word, or by upstream’s', async () => {
  const { digest, pulled, metadata, target, admission } = await scene([onlyV1], { fallback: 'deny' });
  await pulled(good.manifest, v1);
  const [sbom, listed] = [makeArtifact(good.manifest), makeArtifact(bad.manifest)];
  await pulled(sbom.manifest);
  expect(await digest(sbom.manifest.digest)).toBe('allow');
  expect(await digest(must(sbom.layers[0]).digest)).toBe('allow');
  expect(await digest(listed.manifest.digest)).toBe('deny');
  await metadata.links.putReferrers(keyOf(target), good.manifest.digest, [listed.manifest.digest]);
  admission.changed(keyOf(target), { tags: false, manifest: false });
  expect(await digest(listed.manifest.digest)).toBe('allow');
});
