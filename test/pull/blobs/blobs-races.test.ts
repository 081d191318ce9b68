import { expect, test } from 'vitest';
import { neverAborted } from '../../../src/lib/abort.ts';
import { startFakeUpstream } from '../../helpers/fake-upstream.ts';
import { makeBlob } from '../../helpers/image.ts';
import { fillScene } from '../fill/fill-scene.ts';
import { readRange } from '../fill/reading.ts';

const blob = makeBlob('blob', 100_000);
const { digest, bytes } = blob;

/** Blobs of a repository whose upstream has the blob. */
async function begin() {
  const upstream = await startFakeUpstream();
  const scene = await fillScene([upstream.url]);
  upstream.content.addBlob('org/app', blob);
  const code = (error: unknown) => (error as { code?: string }).code;
  return {
    ...scene,
    upstream,
    asked: () => upstream.journal.entries.map(({ method, kind }) => `${method} ${kind}`),
    /** What a GET comes to: its outcome, or the code of its failure. */
    async pull(): Promise<string | undefined> {
      try {
        const content = await scene.blobs.open(scene.target, digest, neverAborted);
        const read = readRange(content.read, { start: 0, end: content.size }, 30_000, neverAborted);
        const { failure } = await read.finally(() => content.close());
        await scene.fills.find(digest)?.done.catch(() => undefined);
        return failure === undefined ? content.outcome : code(failure);
      } catch (error) {
        return code(error);
      }
    },
    stat: async () => (await scene.blobs.stat(scene.target, digest, neverAborted)).size,
  };
}

test('one whose look for a link comes back after upstream vouched for the blob does not ask again', async () => {
  const { pull, hold, asked } = await begin();
  const read = hold('links.get', 'answer');
  const slow = pull();
  await read.reached;
  expect(await pull()).toBe('miss');
  read.release();
  expect(await slow).toBe('hit');
  expect(asked()).toEqual(['HEAD blob', 'GET blob']);
});

test('one whose look for a link comes back after another learnt the size does not ask for it again', async () => {
  const { stat, hold, asked } = await begin();
  const read = hold('links.get', 'answer');
  const slow = stat();
  await read.reached;
  expect(await stat()).toBe(bytes.length);
  read.release();
  expect(await slow).toBe(bytes.length);
  expect(asked()).toEqual(['HEAD blob']);
});

test('one whose look for a link comes back after a manifest named the blob does not ask whether it is there', async () => {
  const { pull, hold, asked, allow } = await begin();
  const read = hold('links.get', 'answer');
  const slow = pull();
  await read.reached;
  await allow(digest, bytes.length);
  read.release();
  expect(await slow).toBe('miss');
  expect(asked()).toEqual(['GET blob']);
});

test('the size that a manifest says stays the bound, though upstream vouches for the blob after that', async () => {
  const { upstream, hold, allow, stat, blobs, fills, target } = await begin();
  const held = upstream.script({ match: { kind: 'blob', method: 'HEAD' }, hold: true, times: 1 });
  const slow = stat();
  await held.reached();
  await allow(digest, bytes.length);
  expect(await stat()).toBe(bytes.length);
  held.release();
  await slow;
  const stored = hold('blobs.put', 'answer');
  const begun = blobs.begin(target, digest, neverAborted);
  await stored.reached;
  expect(fills.find(digest)?.sizeGiven).toBe(true);
  stored.release();
  await begun;
});

test('one whose look for a link comes back late does not forget what upstream said meanwhile', async () => {
  const { pull, hold, asked, allow, upstream } = await begin();
  upstream.script({ match: { kind: 'blob' }, status: 404 });
  await allow(digest, bytes.length);
  const read = hold('links.get', 'answer');
  const slow = pull();
  await read.reached;
  expect(await pull()).toBe('BLOB_UNKNOWN');
  const before = asked();
  read.release();
  expect(await slow).toBe('BLOB_UNKNOWN');
  expect(asked()).toEqual(before);
});

test('one whose look for the blob comes back after others fetched it does not fetch it again', async () => {
  const { pull, hold, asked, allow, blobs, target } = await begin();
  await allow(digest, bytes.length);
  const [opened, begun] = [hold('blobs.get', 'answer'), hold('blobs.get', 'answer')];
  const slow = pull();
  await opened.reached;
  const ahead = blobs.begin(target, digest, neverAborted);
  await begun.reached;
  expect(await pull()).toBe('miss');
  opened.release();
  begun.release();
  expect(await slow).toBe('hit');
  await ahead;
  expect(asked()).toEqual(['GET blob']);
});
