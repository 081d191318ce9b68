import { expect, test } from 'vitest';
import { neverAborted } from '../../../src/lib/abort.ts';
import { keyOf } from '../../../src/pull/repository.ts';
import { startFakeUpstream } from '../../helpers/fake-upstream.ts';
import { within } from '../../helpers/gate.ts';
import { makeBlob } from '../../helpers/image.ts';
import { filesUnder } from '../../helpers/leaks.ts';
import { mustKey } from '../../helpers/stored.ts';
import { fillScene } from '../fill/fill-scene.ts';
import { readRange } from '../fill/reading.ts';

const blob = makeBlob('blob', 100_000);
const { digest, bytes } = blob;

async function begin() {
  const upstream = await startFakeUpstream();
  upstream.content.addBlob('org/app', blob);
  const scene = await fillScene([upstream.url]);
  const pull = async (from = scene.target) => {
    const content = await scene.blobs.open(from, digest, neverAborted);
    const reading = await readRange(content.read, { start: 0, end: content.size }, 30_000, neverAborted);
    await content.close();
    await scene.fills.find(digest)?.done.catch(() => undefined);
    return { ...reading, outcome: content.outcome, upstream: content.upstream };
  };
  return {
    upstream,
    ...scene,
    pull,
    stat: (from = scene.target) => scene.blobs.stat(from, digest, neverAborted),
    requests: () => upstream.journal.entries.map(({ method, kind }) => `${method} ${kind}`),
  };
}

test('a linked blob is one GET, and then comes from disk', async () => {
  const { pull, allow, requests, upstream } = await begin();
  await allow(digest, bytes.length);
  expect(await pull()).toEqual({ bytes, failure: undefined, outcome: 'miss', upstream: upstream.host });
  expect(await pull()).toEqual({ bytes, failure: undefined, outcome: 'hit', upstream: undefined });
  expect(requests()).toEqual(['GET blob']);
});

test('a blob without a link is vouched for by one HEAD, once for all who ask', async () => {
  const { pull, requests, metadata, target } = await begin();
  const outcomes = (await Promise.all([pull(), pull(), pull()])).map(({ outcome }) => outcome);
  expect(outcomes.toSorted()).toEqual(['joined', 'joined', 'miss']);
  expect(requests()).toEqual(['HEAD blob', 'GET blob']);
  expect(await metadata.links.get(keyOf(target), digest)).toMatchObject({ size: bytes.length });
});

test('a stored blob is no leave to read it: another repository’s upstream is asked', async () => {
  const { pull, stat, allow, target, requests } = await begin();
  await allow(digest, bytes.length);
  await pull();
  const other = { ...target, repository: mustKey('ghcr.io', 'org/other').repository };
  for (const ask of [pull, stat]) {
    await expect(ask(other)).rejects.toMatchObject({ code: 'BLOB_UNKNOWN' });
  }
  // The second refusal was remembered.
  expect(requests()).toEqual(['GET blob', 'HEAD blob']);
});

test('the size of a blob costs no download', async () => {
  const { stat, pull, allow, layout, requests } = await begin();
  expect(await stat()).toEqual({ size: bytes.length, outcome: 'miss' });
  expect(requests()).toEqual(['HEAD blob']);
  expect(filesUnder(layout.fills)).toEqual([]);
  await allow(digest, bytes.length);
  await pull();
  expect(await stat()).toEqual({ size: bytes.length, outcome: 'hit' });
});

test('a size that nobody tells is learned from the download', async () => {
  const { stat, upstream } = await begin();
  upstream.script({ match: { kind: 'blob' }, headers: { 'content-length': undefined }, chunked: true });
  expect(await within(stat(), 'the size')).toMatchObject({ size: bytes.length });
});

test.each([
  [404, 'BLOB_UNKNOWN'],
  [403, 'DENIED'],
  [429, 'TOOMANYREQUESTS'],
  [503, 'UNAVAILABLE'],
])('an upstream that answers %i is told as %s', async (status, code) => {
  const { pull, allow, upstream, layout } = await begin();
  upstream.script({ match: { kind: 'blob' }, status });
  await expect(pull()).rejects.toMatchObject({ code });
  await allow(digest, bytes.length);
  expect((await pull()).failure).toMatchObject({ code });
  expect(filesUnder(layout.fills)).toEqual([]);
});

test('a client that leaves before the size is known takes its reader with it', async () => {
  const { blobs, fills, target, allow, upstream } = await begin();
  await allow(digest, undefined);
  const held = upstream.script({ match: { kind: 'blob', method: 'GET' }, hold: true });
  const leave = new AbortController();
  const opening = blobs.open(target, digest, leave.signal);
  await held.reached();
  leave.abort(new Error('left'));
  await expect(opening).rejects.toThrow('left');
  held.release();
  await fills.find(digest)?.done;
  expect(await blobs.stat(target, digest, neverAborted)).toEqual({ size: bytes.length, outcome: 'hit' });
});

test('a blob that is said to be empty and is not is never given out as empty', async () => {
  const { blobs, target, allow } = await begin();
  await allow(digest, 0);
  // A body of no bytes is whole as soon as its head is sent: so the opening itself has to wait for the verdict.
  const opening = blobs.open(target, digest, neverAborted).then(async (content) => {
    await content.close();
    return content.size;
  });
  await expect(opening).rejects.toMatchObject({ code: 'UNAVAILABLE' });
});
