import { describe, expect, test } from 'vitest';
import { mediaTypes } from '../../../src/oci/media-types.ts';
import {
  blobsOf,
  descriptorOf,
  makeArtifact,
  makeImage,
  makeIndex,
  manifestOf,
  type TestBlob,
  type TestImage,
} from '../../helpers/image.ts';
import { warmScene } from './warm-scene.ts';

const index = makeIndex({ platforms: ['linux/amd64', 'linux/arm64', 'linux/riscv64'] });
const image = makeImage({ seed: 'single' });

function must<T>(value: T | undefined): T {
  if (value === undefined) throw new Error('it is not there');
  return value;
}

/** An image that shares a layer with others. */
function sharing(seed: string, layer: TestBlob): TestImage {
  const own = makeImage({ seed });
  const layers = [layer, ...own.layers];
  const document = {
    schemaVersion: 2,
    mediaType: mediaTypes.ociManifest,
    config: descriptorOf(own.config),
    layers: layers.map(descriptorOf),
  };
  return { ...own, layers, manifest: manifestOf(document, mediaTypes.ociManifest) };
}

describe('an image that is warmed', () => {
  test('is whole, every platform of it, and is not fetched again', async () => {
    const { upstream, run, ended, state, events } = await warmScene();
    upstream.add('org/app', index, 'v1');
    const first = await run(['ghcr.io/org/app:v1']);
    expect(first).toMatchObject({ warmed: 1, failed: 0, fetched: 1 + 3 + 3 * 3 });
    expect(await state('ghcr.io/org/app:v1')).toMatchObject({ whole: true, digest: index.manifest.digest });
    const total = index.images.flatMap(blobsOf).reduce((sum, { bytes }) => sum + bytes.length, 0);
    expect(events.find(({ kind }) => kind === 'image')).toMatchObject({
      blobs: 9,
      bytes: total,
      missing: total,
    });
    expect(events.at(-1)).toEqual({ kind: 'done', ...first });
    const blobs = upstream.journal.count({ kind: 'blob' });
    expect(await run(['ghcr.io/org/app:v1'])).toMatchObject({ unchanged: 1, fetched: 0, bytes: 0 });
    expect(upstream.journal.count({ kind: 'blob' })).toBe(blobs);
    expect(ended()).toEqual(['unchanged ghcr.io/org/app:v1', 'warmed ghcr.io/org/app:v1']);
  });

  test('is fetched for the platforms asked for alone, and its index is kept as it is', async () => {
    const { upstream, run, state } = await warmScene();
    upstream.add('org/app', index, 'v1');
    await run(['ghcr.io/org/app:v1'], { platforms: ['linux/amd64', 'linux/riscv64'] });
    const [amd64, arm64, riscv64] = index.images;
    for (const blob of blobsOf(must(arm64)))
      expect(upstream.journal.count({ reference: blob.digest })).toBe(0);
    for (const blob of [...blobsOf(must(amd64)), ...blobsOf(must(riscv64))]) {
      expect(upstream.journal.count({ kind: 'blob', reference: blob.digest })).toBe(1);
    }
    expect(await state('ghcr.io/org/app:v1', ['linux/riscv64'])).toMatchObject({
      whole: true,
      digest: index.manifest.digest,
    });
    expect(await state('ghcr.io/org/app:v1')).toMatchObject({ whole: false, lacking: [] });
    // The rest can be fetched later.
    expect(await run(['ghcr.io/org/app:v1'])).toMatchObject({ warmed: 1, fetched: 4 });
    expect(await state('ghcr.io/org/app:v1')).toMatchObject({ whole: true });
  });

  test('by digest, or without a tag, is that image', async () => {
    const { upstream, run, ended } = await warmScene();
    upstream.add('org/app', image, 'latest');
    const byDigest = `ghcr.io/org/app@${image.manifest.digest}`;
    await run([byDigest]);
    await run(['ghcr.io/org/app']);
    expect(ended()).toEqual(['warmed ghcr.io/org/app:latest', `warmed ${byDigest}`]);
  });

  test('brings its signatures, SBOMs and attestations along', async () => {
    const { upstream, run, state, events } = await warmScene();
    const [sbom, signature, attestation, sbomSignature] = [
      'sbom',
      'signature',
      'attestation',
      'of the sbom',
    ].map((seed) => makeArtifact(image.manifest, { seed }));
    upstream.add('org/app', image, 'v1');
    const tag = (digest: string, ending: string) => `${digest.replace(':', '-')}${ending}`;
    upstream.add('org/app', must(sbom));
    upstream.add('org/app', must(signature), tag(image.manifest.digest, '.sig'));
    upstream.add('org/app', must(attestation), tag(image.manifest.digest, '.att'));
    upstream.add('org/app', must(sbomSignature), tag(must(sbom).manifest.digest, '.sig'));
    await run(['ghcr.io/org/app:v1']);
    const parts = must(await state('ghcr.io/org/app:v1')).parts.filter(({ role }) => role === 'referrer');
    const wanted = [sbom, signature, attestation, sbomSignature].flatMap((each) => {
      return [must(each).manifest.digest, ...blobsOf(must(each)).map(({ digest }) => digest)];
    });
    expect(parts.map(({ digest }) => digest).sort()).toEqual([...new Set(wanted)].sort());
    expect(parts.every(({ stored }) => stored)).toBe(true);
    expect(events.find(({ kind }) => kind === 'end')).toMatchObject({ warnings: [] });
  });

  test('leaves them where they are when told to', async () => {
    const { upstream, run, asked } = await warmScene();
    upstream.add('org/app', image, 'v1');
    upstream.add('org/app', makeArtifact(image.manifest));
    await run(['ghcr.io/org/app:v1'], { referrers: false });
    expect(asked().filter((line) => /referrers|sha256-/.test(line))).toEqual([]);
  });

  test('has not failed because its signatures cannot be looked up, but says so', async () => {
    const { upstream, run, events } = await warmScene();
    upstream.add('org/app', image, 'v1');
    upstream.script({ match: { kind: 'referrers' }, status: 429 });
    expect(await run(['ghcr.io/org/app:v1'])).toMatchObject({ warmed: 1, failed: 0 });
    const end = events.find(({ kind }) => kind === 'end');
    expect(end).toMatchObject({ warnings: [expect.stringContaining('signatures and SBOMs may be missing')] });
  });
});

describe('several images', () => {
  test('share what they share: each blob is downloaded once', async () => {
    const shared = makeImage({ seed: 'shared', layers: [300_000] }).layers[0];
    const { upstream, run, ended } = await warmScene({ blobs: 3 });
    const names = Array.from({ length: 8 }, (_, each) => `org/app-${each}`);
    for (const name of names) upstream.add(name, sharing(name, must(shared)), 'v1');
    const summary = await run(names.map((name) => `ghcr.io/${name}:v1`));
    expect(ended()).toHaveLength(8);
    expect(summary).toMatchObject({ warmed: 8, fetched: 8 * 4 + 1 });
    expect(upstream.journal.count({ kind: 'blob', reference: must(shared).digest })).toBe(1);
    expect(upstream.journal.count({ kind: 'blob' })).toBe(8 * 3 + 1);
  });

  test('are not held up by those that are denied, gone, or of a registry that is not configured', async () => {
    const { upstream, run, ended } = await warmScene({
      rules: [{ images: ['**'], tags: ['*-nightly'], action: 'deny', reason: 'Pin a version.' }],
    });
    upstream.add('org/app', image, 'v1', 'a-nightly');
    const summary = await run([
      'ghcr.io/org/app:a-nightly',
      'ghcr.io/org/app:gone',
      'quay.io/org/app:v1',
      'ghcr.io/org/app:v1',
    ]);
    expect(summary).toMatchObject({ warmed: 1, denied: 1, failed: 2, unchanged: 0 });
    expect(ended()).toEqual([
      expect.stringMatching(/^denied ghcr.io\/org\/app:a-nightly: policy: .* rule 1 .*Pin a version/),
      expect.stringMatching(/^failed ghcr.io\/org\/app:gone: /),
      expect.stringMatching(/^failed quay.io\/org\/app:v1: registry quay.io is not configured/),
      'warmed ghcr.io/org/app:v1',
    ]);
    expect(upstream.journal.count({ reference: 'a-nightly' })).toBe(0);
  });
});

describe('what is not right', () => {
  test('an image whose digest policy denies is denied once the digest is known, and none of its layers is fetched', async () => {
    const { upstream, run, ended } = await warmScene({
      rules: [{ images: ['**'], digests: [image.manifest.digest], action: 'deny', reason: 'It is broken.' }],
    });
    upstream.add('org/app', image, 'v1');
    expect(await run(['ghcr.io/org/app:v1'])).toMatchObject({ denied: 1, failed: 0 });
    expect(ended()[0]).toContain('It is broken');
    expect(upstream.journal.count({ kind: 'blob' })).toBe(0);
  });

  test('a layer that cannot be fetched fails its image, with the reason, and the others are kept', async () => {
    const { upstream, run, ended, state } = await warmScene();
    upstream.add('org/app', image, 'v1');
    const [layer] = image.layers;
    upstream.script({ match: { kind: 'blob', reference: must(layer).digest }, status: 404 });
    expect(await run(['ghcr.io/org/app:v1'])).toMatchObject({ failed: 1 });
    expect(ended()[0]).toContain(must(layer).digest);
    const missing = must(await state('ghcr.io/org/app:v1')).parts.filter(({ stored }) => !stored);
    expect(missing.map(({ digest }) => digest)).toEqual([must(layer).digest]);
    upstream.heal();
    expect(await run(['ghcr.io/org/app:v1'])).toMatchObject({ warmed: 1, fetched: 1 });
  });

  test('a platform that the image does not have fails it, and says which it has', async () => {
    const { upstream, run, ended } = await warmScene();
    upstream.add('org/app', index, 'v1');
    upstream.add('org/single', image, 'v1');
    await run(['ghcr.io/org/app:v1', 'ghcr.io/org/single:v1'], { platforms: ['linux/s390x'] });
    expect(ended()).toEqual([
      'failed ghcr.io/org/app:v1: it has no image for linux/s390x: its platforms are linux/amd64, linux/arm64, linux/riscv64',
      'failed ghcr.io/org/single:v1: it has no image for linux/s390x: its platforms are linux/amd64',
    ]);
  });

  test('a tag that cannot be confirmed has failed, though what is here is whole', async () => {
    const { upstream, run, ended } = await warmScene();
    upstream.add('org/app', image, 'v1');
    await run(['ghcr.io/org/app:v1']);
    upstream.script({ match: { kind: 'manifest' }, status: 503 });
    expect(await run(['ghcr.io/org/app:v1'])).toMatchObject({ failed: 1 });
    expect(ended()[0]).toMatch(/^failed ghcr.io\/org\/app:v1: what is here was not confirmed: /);
  });

  test('an abort ends the wait, and the next run does not begin anew', async () => {
    const { upstream, run, reports } = await warmScene();
    const large = makeImage({ seed: 'large', layers: [2_000_000] });
    upstream.add('org/app', large, 'v1');
    const held = upstream.script({
      match: { kind: 'blob', reference: must(large.layers[0]).digest },
      stallAt: '50%',
    });
    const controller = new AbortController();
    const aborted = run(['ghcr.io/org/app:v1'], {}, controller.signal);
    await upstream.journal.reaches(({ kind, bytes }) => kind === 'blob' && bytes >= 1_000_000);
    controller.abort(new Error('interrupted'));
    await expect(aborted).rejects.toThrow('interrupted');
    const again = run(['ghcr.io/org/app:v1']);
    held.release();
    expect(await again).toMatchObject({ warmed: 1 });
    expect(upstream.journal.count({ kind: 'blob', reference: must(large.layers[0]).digest })).toBe(1);
    expect(reports.filter(({ result }) => result !== 'stored')).toEqual([]);
  });

  test('without upstreams nothing is asked: what is whole is unchanged, the rest is refused', async () => {
    const { upstream, run, ended, metadata } = await warmScene({ registry: { source: { kind: 'offline' } } });
    upstream.add('org/app', image, 'v1');
    await run(['ghcr.io/org/app:v1']);
    expect(ended()).toEqual([expect.stringMatching(/^failed ghcr.io\/org\/app:v1: this mirror is offline/)]);
    expect(upstream.journal.count()).toBe(0);
    expect(await metadata.links.repositories()).toEqual([]);
  });
});
