import { readFile, writeFile } from 'node:fs/promises';
import { basename } from 'node:path';
import { expect, test, vi } from 'vitest';
import { neverAborted } from '../../../src/lib/abort.ts';
import { mapOfFill } from '../../../src/store/disk/layout.ts';
import { startFakeUpstream } from '../../helpers/fake-upstream.ts';
import { within } from '../../helpers/gate.ts';
import { makeBlob, type TestBlob } from '../../helpers/image.ts';
import { filesUnder, openFilesUnder } from '../../helpers/leaks.ts';
import { patience } from '../../helpers/patience.ts';
import { fillScene } from '../fill/fill-scene.ts';
import { readRange } from '../fill/reading.ts';

const blob = makeBlob('apart', 6_000_000);
const size = blob.bytes.length;
const match = { kind: 'blob', method: 'GET', reference: blob.digest } as const;

/** A scene whose blobs are hashed by another thread than the one that receives them. */
async function begin(options: Parameters<typeof fillScene>[1] = {}) {
  const upstream = await startFakeUpstream();
  upstream.content.addBlob('org/app', blob);
  const scene = await fillScene([upstream.url], { threads: 2, hashedApartFrom: 0, ...options });
  const start = ({ digest, bytes }: TestBlob = blob) =>
    scene.fills.join(scene.target, digest, bytes.length).fill;
  const storedWhole = async ({ digest, bytes }: TestBlob = blob) => {
    return (await readFile(scene.layout.blob(digest))).equals(bytes);
  };
  return { upstream, scene, start, storedWhole };
}

test.each([
  ['another thread where there is one', { threads: 2 }, 2],
  ['its own thread where it is the only one', { threads: 1 }, 1],
  ['its own thread when it is small', { threads: 2, hashedApartFrom: size + 1 }, 1],
])('a blob is hashed by %s', async (_who, options, descriptors) => {
  const { upstream, scene, start, storedWhole } = await begin(options);
  const stalled = upstream.script({ match, stallAt: 3_000_000 });
  const fill = start();
  await stalled.reached();
  await vi.waitUntil(() => fill.arrival.arrived().size === 3_000_000, { timeout: patience });
  const name = basename(scene.layout.fill(blob.digest));
  const holders = () => openFilesUnder(scene.layout.fills).filter((open) => open === name).length;
  await vi.waitUntil(() => holders() === descriptors, { timeout: patience });
  upstream.heal();
  await within(fill.done, 'the blob');
  expect(await storedWhole()).toBe(true);
  await vi.waitUntil(() => openFilesUnder(scene.layout.blobs).length === 0, { timeout: patience });
});

test('wrong bytes are found out, fetched again, and never given out whole', async () => {
  const { upstream, scene, start, storedWhole } = await begin();
  upstream.script({ match, corruptAt: 5, stallAt: 3_000_000, times: 1 });
  const fill = start();
  const [early, idle] = [fill.reader(), fill.reader()];
  const whole = { start: 0, end: size };
  const given = await readRange(early.read, { start: 0, end: 1_000_000 }, 100_000, neverAborted);
  expect(given.failure).toBeUndefined();
  const rest = readRange(early.read, { start: 1_000_000, end: size }, 100_000, neverAborted);
  upstream.heal();
  const cut = await within(rest.finally(early.close), 'who was given wrong bytes');
  expect(cut.failure).toBeInstanceOf(Error);
  const late = await within(readRange(idle.read, whole, 500_000, neverAborted), 'the other');
  await idle.close();
  expect(late.failure).toBeUndefined();
  expect(late.bytes.equals(blob.bytes)).toBe(true);
  await fill.done;
  expect(await storedWhole()).toBe(true);
  expect(scene.distrusted).toEqual([upstream.host]);
});

test('wrong bytes twice are told, and nothing of them is kept', async () => {
  const { upstream, scene, start } = await begin();
  upstream.script({ match, corruptAt: size - 1 });
  await expect(within(start().done, 'the failure')).rejects.toMatchObject({
    message: expect.stringContaining('wrong bytes'),
  });
  expect(filesUnder(scene.layout.fills)).toEqual([]);
  expect(await scene.store.size(blob.digest)).toBeUndefined();
});

test('what an earlier run left is hashed with the rest', async () => {
  const { upstream, scene, start, storedWhole } = await begin();
  await writeFile(scene.layout.fill(blob.digest), blob.bytes.subarray(0, 4_000_000));
  await writeFile(mapOfFill(scene.layout.fill(blob.digest)), '[[0,4000000]]');
  await within(start().done, 'the blob');
  expect(await storedWhole()).toBe(true);
  expect(upstream.journal.filter(match).map(({ headers }) => headers.range)).toEqual(['bytes=4000000-']);
});

test('closing midway leaves what came for the next start, and no thread holds the file', async () => {
  const { upstream, scene, start } = await begin();
  const stalled = upstream.script({ match, stallAt: 3_000_000 });
  const fill = start();
  await stalled.reached();
  await vi.waitUntil(() => fill.arrival.arrived().size === 3_000_000, { timeout: patience });
  await within(scene.fills.close(), 'the fills to close');
  await expect(fill.done).rejects.toMatchObject({ code: 'UNAVAILABLE' });
  expect(await readFile(mapOfFill(scene.layout.fill(blob.digest)), 'utf8')).toBe('[[0,3000000]]');
  await vi.waitUntil(() => openFilesUnder(scene.layout.fills).length === 0, { timeout: patience });
});

test('more blobs at once than there are threads all come out right', async () => {
  const { upstream, start, storedWhole } = await begin();
  const several = Array.from({ length: 7 }, (_, index) => makeBlob(`apart-${index}`, 1_500_000 + index));
  for (const one of several) upstream.content.addBlob('org/app', one);
  await within(Promise.all(several.map((one) => start(one).done)), 'the blobs');
  expect(await Promise.all(several.map(storedWhole))).toEqual(several.map(() => true));
});
