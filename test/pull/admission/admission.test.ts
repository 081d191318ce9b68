import { expect, test } from 'vitest';
import type { Digest } from '../../../src/oci/digest.ts';
import { mediaTypes } from '../../../src/oci/media-types.ts';
import type { PolicyRule } from '../../../src/policy/rules.ts';
import { keyOf } from '../../../src/pull/repository.ts';
import { makeImage } from '../../helpers/image.ts';
import { targetOf } from '../scripted-upstream.ts';
import {
  bad,
  badImage,
  content,
  good,
  goodImage,
  image,
  latest,
  must,
  notLatest,
  onlyV1,
  partsOf,
  scene,
  tagged,
  v1,
} from './admission-scene.ts';

test('a tag is decided by the rules, at once, and with the terms of the rule that allows it', async () => {
  const pinned: PolicyRule = { images: [image], tags: ['v1'], action: 'allow', pin: true, minAge: 5 };
  const { admission, target } = await scene([pinned], { fallback: 'deny' });
  const terms = { locked: undefined, pin: true, minAge: 5 };
  expect(admission.judge(target, tagged(v1))).toEqual({ kind: 'allow', terms });
  expect(await admission.judge(target, tagged(latest))).toMatchObject({ kind: 'deny' });
});

test('a denial says what would be allowed, by the tags that are known', async () => {
  const { admission, target, pulled } = await scene([onlyV1], { fallback: 'deny' });
  const denied = async () => {
    const judgement = await admission.judge(target, tagged(latest));
    return judgement.kind === 'deny' ? judgement.message : '';
  };
  expect(await denied()).toContain('ghcr.io/org/app:latest');
  expect(await denied()).toContain('tags like v1');
  await pulled(good.manifest, v1);
  expect(await denied()).toContain('for example: v1.');
});

test('what a denial names is looked up once, until something else becomes known', async () => {
  const { admission, target, pulled, metadata } = await scene([onlyV1], { fallback: 'deny' });
  await pulled(good.manifest, v1);
  const denied = async () => admission.judge(target, tagged(latest));
  const first = await denied();
  await metadata.close();
  expect(await denied()).toEqual(first);
  admission.changed(keyOf(target), { tags: true, manifest: false });
  await expect(denied()).rejects.toThrow();
});

test('with provenance, a digest is served where an allowed tag led to it, its parts as well', async () => {
  const { digest, pulled } = await scene([onlyV1], { fallback: 'deny' });
  for (const part of partsOf(good)) expect(await digest(part)).toBe('deny');
  await pulled(good.manifest, v1);
  await pulled(goodImage.manifest);
  for (const part of partsOf(good)) expect(await digest(part)).toBe('allow');
  for (const part of partsOf(bad)) expect(await digest(part)).toBe('deny');
});

test('with provenance, what only a denied tag led to is denied, with the rule and its reason', async () => {
  const { digest, message, pulled } = await scene([notLatest]);
  await pulled(bad.manifest, latest);
  await pulled(badImage.manifest);
  for (const part of partsOf(bad)) expect(await digest(part)).toBe('deny');
  expect(await message(badImage.config.digest)).toMatch(/known by its tag latest.*rule 1.*Floats/);
});

test('with provenance, a layer that an allowed tag shares with a denied one is served', async () => {
  const shared = must(goodImage.layers[0]);
  const both = makeImage({ seed: 'good' });
  const { digest, pulled } = await scene([notLatest]);
  await pulled(both.manifest, latest);
  expect(await digest(shared.digest)).toBe('deny');
  await pulled(good.manifest, v1);
  await pulled(goodImage.manifest);
  expect(await digest(shared.digest)).toBe('allow');
});

test('with provenance, a tag that was allowed to lead to a digest goes on doing so when it moves or is gone', async () => {
  const { digest, pulled, drop } = await scene([onlyV1], { fallback: 'deny' });
  await pulled(good.manifest, v1);
  await pulled(bad.manifest, v1);
  expect(await digest(good.manifest.digest)).toBe('allow');
  await drop(v1);
  expect(await digest(good.manifest.digest)).toBe('allow');
});

test('with "deny", only what an allowed tag names now is served', async () => {
  const { digest, pulled, drop } = await scene([onlyV1], { fallback: 'deny', digests: 'deny' });
  await pulled(good.manifest, v1);
  expect(await digest(good.manifest.digest)).toBe('allow');
  await pulled(bad.manifest, v1);
  expect(await digest(good.manifest.digest)).toBe('deny');
  expect(await digest(bad.manifest.digest)).toBe('allow');
  await drop(v1);
  expect(await digest(bad.manifest.digest)).toBe('deny');
});

test('with "allow", any digest of a repository is served unless all of it is denied', async () => {
  const { digest } = await scene([onlyV1], { fallback: 'deny', digests: 'allow' });
  expect(await digest(bad.manifest.digest)).toBe('allow');
  const elsewhere = targetOf([], { repository: 'org/other' });
  expect(await digest(bad.manifest.digest, elsewhere)).toBe('deny');
});

test('what a tag led to in one repository is not served in another, nor in its namesake', async () => {
  const { digest, pulled } = await scene([{ images: ['**'], tags: ['v1'], action: 'allow' }], {
    fallback: 'deny',
  });
  await pulled(good.manifest, v1);
  await pulled(goodImage.manifest);
  for (const stranger of [targetOf([], { repository: 'org/other' }), targetOf([], { name: 'docker.io' })]) {
    for (const part of partsOf(good)) expect(await digest(part, stranger)).toBe('deny');
  }
});

test('where everything is allowed, nothing is looked up', async () => {
  const { admission, target, metadata } = await scene([]);
  await metadata.close();
  expect(admission.judge(target, content(good.manifest.digest))).toMatchObject({ kind: 'allow' });
});

test('a decision is remembered until something else is known to lead there', async () => {
  const { admission, digest, target, metadata } = await scene([onlyV1], { fallback: 'deny' });
  const key = keyOf(target);
  const { digest: wanted } = good.manifest;
  expect(await digest(wanted)).toBe('deny');
  const stored = { ...good.manifest, mediaType: mediaTypes.ociIndex };
  await metadata.manifests.put(key, stored, [], { tag: v1, upstream: 'up', at: 1 });
  expect(await digest(wanted)).toBe('deny');
  admission.changed({ ...key, registry: 'docker.io' }, { tags: true, manifest: false });
  expect(await digest(wanted)).toBe('deny');
  admission.changed(key, { tags: true, manifest: false });
  expect(await digest(wanted)).toBe('allow');
  expect(admission.judge(target, content(wanted))).not.toBeInstanceOf(Promise);
});

test('a decision that was under way when something changed is not remembered', async () => {
  const { admission, digest, target, pulled } = await scene([onlyV1], { fallback: 'deny' });
  const underWay = admission.judge(target, content(good.manifest.digest));
  await pulled(good.manifest, v1);
  expect(await underWay).toMatchObject({ kind: 'deny' });
  expect(await digest(good.manifest.digest)).toBe('allow');
});

test('who asks once more is known does not get the decision that was under way before', async () => {
  const { digest, metadata, pulled } = await scene([onlyV1], { fallback: 'deny' });
  const { links } = metadata;
  const held = Promise.withResolvers<void>();
  const stepsUp = links.stepsUp.bind(links);
  links.stepsUp = async (...asked) => {
    const steps = await stepsUp(...asked);
    await held.promise;
    return steps;
  };
  const before = [digest(good.manifest.digest), digest(good.manifest.digest)];
  links.stepsUp = stepsUp;
  await pulled(good.manifest, v1);
  expect(await digest(good.manifest.digest)).toBe('allow');
  held.resolve();
  expect(await Promise.all(before)).toEqual(['deny', 'deny']);
  expect(await digest(good.manifest.digest)).toBe('allow');
});

test('a locked tag is what the lockfile says, and all that belongs to it is served under default deny', async () => {
  const locked = { v1: good.manifest.digest };
  const { admission, target, digest, tag, pulled } = await scene([], { fallback: 'deny', locked });
  expect(admission.judge(target, tagged(v1))).toEqual({
    kind: 'allow',
    terms: { locked: good.manifest.digest, pin: false, minAge: 0 },
  });
  expect(await tag(latest)).toBe('deny');
  expect(await digest(good.manifest.digest)).toBe('allow');
  await pulled(good.manifest, v1);
  await pulled(goodImage.manifest);
  for (const part of partsOf(good)) expect(await digest(part)).toBe('allow');
  // What the tag was elsewhere, or will be, is not what is locked.
  await pulled(bad.manifest, v1);
  await pulled(badImage.manifest);
  for (const part of partsOf(bad)) expect(await digest(part)).toBe('deny');
});

test('an image that is locked and pulled by its digest alone is served with its parts', async () => {
  const locked = { v1: good.manifest.digest };
  const { digest, pulled } = await scene([], { fallback: 'deny', locked });
  await pulled(good.manifest);
  await pulled(goodImage.manifest);
  for (const part of partsOf(good)) expect(await digest(part)).toBe('allow');
});

test('a rule with digests allows what they lead to, by tag and without', async () => {
  const listed: PolicyRule = { images: ['**'], digests: [good.manifest.digest], action: 'allow' };
  for (const tagged of [true, false]) {
    const { digest, pulled } = await scene([listed], { fallback: 'deny' });
    await pulled(good.manifest, tagged ? v1 : undefined);
    await pulled(goodImage.manifest);
    await pulled(bad.manifest, tagged ? v1 : undefined);
    await pulled(badImage.manifest);
    for (const part of partsOf(good)) expect(await digest(part)).toBe('allow');
    for (const part of partsOf(bad)) expect(await digest(part)).toBe('deny');
  }
});

test('a rule with digests denies what they lead to: an index with all of it, one image of an index alone', async () => {
  const deny = (digest: Digest): PolicyRule => ({ images: ['**'], digests: [digest], action: 'deny' });
  for (const tagged of [true, false]) {
    const whole = await scene([deny(bad.manifest.digest)]);
    const one = await scene([deny(badImage.manifest.digest)]);
    for (const { pulled } of [whole, one]) {
      await pulled(bad.manifest, tagged ? v1 : undefined);
      await pulled(badImage.manifest);
      await pulled(must(bad.images[1]).manifest);
    }
    for (const part of partsOf(bad)) expect(await whole.digest(part)).toBe('deny');
    const [index, ...parts] = partsOf(bad);
    expect(await one.digest(must(index))).toBe('allow');
    for (const part of parts) expect(await one.digest(part)).toBe('deny');
    expect(await one.digest(must(bad.images[1]?.layers[0]).digest)).toBe('allow');
  }
});

test('a tag whose digest decides needs the manifest, and is then decided', async () => {
  const listed: PolicyRule = { images: ['**'], digests: [bad.manifest.digest], action: 'deny' };
  const { admission, target, tag } = await scene([listed]);
  expect(await admission.judge(target, tagged(v1))).toMatchObject({
    kind: 'needs',
    evidence: { kind: 'manifest' },
  });
  expect(await tag(v1, good.manifest.digest)).toBe('allow');
  expect(await tag(v1, bad.manifest.digest)).toBe('deny');
});

test('a tag whose digest decides keeps the terms of the rule that allows what it is served as', async () => {
  const rules: PolicyRule[] = [
    { images: ['**'], digests: [bad.manifest.digest], action: 'deny' },
    { images: ['**'], action: 'allow', pin: true, minAge: 7 },
  ];
  const { admission, target, pulled } = await scene(rules);
  const terms = async () => {
    const judgement = await admission.judge(target, tagged(v1));
    if (judgement.kind !== 'needs' || judgement.evidence.kind !== 'manifest') throw new Error(judgement.kind);
    return judgement.evidence.terms;
  };
  await pulled(good.manifest, v1);
  expect(await terms()).toEqual({ locked: undefined, pin: true, minAge: 7 });
  // What is denied is not held on to.
  await pulled(bad.manifest, v1);
  expect(await terms()).toEqual({ locked: undefined, pin: false, minAge: 7 });
});

test('a list shows what may be had, and what a lockfile adds', async () => {
  const { admission, target } = await scene([onlyV1], {
    fallback: 'deny',
    locked: { v9: good.manifest.digest },
  });
  const shows = admission.shown(target);
  if (shows === 'all') throw new Error('v2 is denied');
  expect(['v1', 'v2', 'v9', `sha256-${'a'.repeat(64)}.sig`].filter(shows)).toEqual([
    'v1',
    'v9',
    `sha256-${'a'.repeat(64)}.sig`,
  ]);
  expect(await admission.judge(target, { kind: 'repository' })).toMatchObject({ kind: 'allow' });
  expect(await admission.judge(targetOf([], { name: 'quay.io' }), { kind: 'repository' })).toMatchObject({
    kind: 'deny',
  });
});
