import { existsSync } from 'node:fs';
import { rm, writeFile } from 'node:fs/promises';
import { expect, onTestFinished, test } from 'vitest';
import { neverAborted } from '../../../src/lib/abort.ts';
import { systemClock } from '../../../src/lib/clock.ts';
import { silentLog } from '../../../src/lib/log.ts';
import { mediaTypes } from '../../../src/oci/media-types.ts';
import { DigestThread } from '../../../src/store/disk/digest-thread.ts';
import { DiskBlobStore } from '../../../src/store/disk/disk-blob-store.ts';
import type { ManifestRecords } from '../../../src/store/manifest-records.ts';
import { Scrub, type ScrubEvent } from '../../../src/transfer/images/scrub.ts';
import { nobody } from '../../helpers/facts.ts';
import { blobsOf, makeImage } from '../../helpers/image.ts';
import { mustKey } from '../../helpers/stored.ts';
import { warmScene } from '../warm/warm-scene.ts';

const image = makeImage();
const v1 = 'ghcr.io/org/app:v1';

async function scene() {
  const made = await warmScene();
  made.upstream.add('org/app', image, 'v1');
  await made.run([v1]);
  const events: ScrubEvent[] = [];
  return {
    ...made,
    async verified(signal = neverAborted) {
      events.length = 0;
      return made.scrub.run({ rate: 0 }, (event) => events.push(event), signal);
    },
    wrong: () =>
      events.flatMap((event) => (event.kind === 'wrong' ? [[event.what, event.problem, event.digest]] : [])),
  };
}

test('what is right stays as it is', async () => {
  const { verified, wrong, state } = await scene();
  const bytes = blobsOf(image).reduce((sum, blob) => sum + blob.bytes.length, 0);
  expect(await verified()).toEqual({ checked: 4, bytes, wrong: 0 });
  expect(wrong()).toEqual([]);
  expect(await state(v1)).toMatchObject({ whole: true });
});

test('a blob with one flipped byte is set aside, kept for whoever wants to look at it, and fetched again', async () => {
  const { verified, wrong, state, run, layout, metadata } = await scene();
  const [layer] = image.layers;
  if (layer === undefined) throw new Error('it has layers');
  const bytes = Buffer.from(layer.bytes);
  bytes[5_000] = (bytes[5_000] ?? 0) ^ 1;
  await writeFile(layout.blob(layer.digest), bytes);
  expect(await verified()).toMatchObject({ checked: 4, wrong: 1 });
  expect(wrong()).toEqual([['blob', 'corrupt', layer.digest]]);
  expect(existsSync(layout.quarantined(layer.digest))).toBe(true);
  expect((await metadata.blobs.all()).map(({ digest }) => digest)).not.toContain(layer.digest);
  expect(await state(v1)).toMatchObject({ whole: false });
  expect(await run([v1])).toMatchObject({ warmed: 1, fetched: 1 });
  expect(await verified()).toMatchObject({ wrong: 0 });
});

test('a blob that is cut short, one whose file is gone, and one that is only on disk are each found', async () => {
  const { verified, wrong, layout, metadata } = await scene();
  const [first, second] = image.layers;
  if (first === undefined || second === undefined) throw new Error('it has two layers');
  await writeFile(layout.blob(first.digest), first.bytes.subarray(0, -1));
  await rm(layout.blob(second.digest));
  await metadata.blobs.drop(image.config.digest);
  expect(await verified()).toMatchObject({ wrong: 2 });
  expect(wrong()).toEqual([
    ['blob', 'corrupt', first.digest],
    ['blob', 'missing', second.digest],
  ]);
  // What was stored right before a crash is recorded now.
  expect((await metadata.blobs.all()).map(({ digest }) => digest)).toEqual([image.config.digest]);
});

test('a manifest that is not what its digest says is dropped, and memory is told', async () => {
  const { verified, wrong, metadata, forgotten, state } = await scene();
  const { digest } = makeImage({ seed: 'another' }).manifest;
  // The index records what it is given: who gives it has verified it.
  await metadata.manifests.put(
    mustKey('ghcr.io', 'org/app'),
    { digest, mediaType: mediaTypes.ociManifest, bytes: image.manifest.bytes },
    [],
    { tag: undefined, upstream: 'u', at: 1 },
  );
  expect(await verified()).toMatchObject({ checked: 5, wrong: 1 });
  expect(wrong()).toEqual([['manifest', 'corrupt', digest]]);
  expect(forgotten).toEqual([digest]);
  expect(await metadata.manifests.digests()).toEqual([image.manifest.digest]);
  expect(await state(v1)).toMatchObject({ whole: true });
});

test('an abort ends it', async () => {
  const { verified } = await scene();
  await expect(verified(AbortSignal.abort(new Error('interrupted')))).rejects.toThrow('interrupted');
});

test('a digest thread that is lost says nothing of what is stored: the scrub fails, and sets nothing aside', async () => {
  const { metadata, layout, store: blobs, ...made } = await scene();
  // More than what is on its way to the thread at once.
  const large = makeImage({ seed: 'large', layers: [2_000_000] });
  made.upstream.add('org/app', large, 'v2');
  await made.run(['ghcr.io/org/app:v2']);
  const [layer] = large.layers;
  if (layer === undefined) throw new Error('it has a layer');
  const bytes = Object.assign(new DiskBlobStore(layout), {
    async *digests() {
      yield layer.digest;
    },
  });
  const dying = `import { parentPort } from 'node:worker_threads';
    parentPort.on('message', ({ kind, id }) => {
      if (kind === 'bytes') throw new Error('out of luck');
    });`;
  const digests = new DigestThread({ script: new URL(`data:text/javascript,${encodeURIComponent(dying)}`) });
  onTestFinished(() => digests.close());
  // Of blobs alone: manifests go before them.
  const none = { digests: async () => [] } as unknown as ManifestRecords;
  const scrub = new Scrub({
    metadata: { blobs: metadata.blobs, manifests: none },
    blobs,
    bytes,
    digests,
    clock: systemClock,
    log: silentLog,
    facts: nobody,
  });
  const events: ScrubEvent[] = [];
  await expect(scrub.run({ rate: 0 }, (event) => events.push(event), neverAborted)).rejects.toMatchObject({
    code: 'DIGEST_THREAD',
  });
  expect(events.filter(({ kind }) => kind === 'wrong')).toEqual([]);
  expect(existsSync(layout.quarantine)).toBe(false);
  expect(await made.verified()).toMatchObject({ wrong: 0 });
});
