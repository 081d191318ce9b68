import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { basename } from 'node:path';
import { expect, test, vi } from 'vitest';
import { neverAborted } from '../../../src/lib/abort.ts';
import { keyOf } from '../../../src/pull/repository.ts';
import { mapOfFill } from '../../../src/store/disk/layout.ts';
import { startFakeUpstream } from '../../helpers/fake-upstream.ts';
import { within } from '../../helpers/gate.ts';
import { makeBlob, type TestBlob } from '../../helpers/image.ts';
import { filesUnder, openFilesUnder } from '../../helpers/leaks.ts';
import { patience } from '../../helpers/patience.ts';
import { temporaryDirectory } from '../../helpers/start-proxy.ts';
import { type FillScene, fillScene } from '../fill/fill-scene.ts';
import { readRange } from '../fill/reading.ts';

const small = makeBlob('small', 100_000);
const large = makeBlob('large', 6_000_000);

/** An upstream that has the blobs, and a scene in front of it. */
async function begin(options: Parameters<typeof fillScene>[1] = {}) {
  const upstream = await startFakeUpstream();
  for (const blob of [small, large]) upstream.content.addBlob('org/app', blob);
  return { upstream, ...(await fillScene([upstream.url], options)) };
}

function start({ fills, target }: Pick<FillScene, 'fills' | 'target'>, blob: TestBlob, sizeKnown = true) {
  return fills.join(target, blob.digest, sizeKnown ? blob.bytes.length : undefined);
}

/** Leaves these parts of a blob as an earlier run does that was interrupted. */
async function leave(
  { layout }: Pick<FillScene, 'layout'>,
  { digest, bytes }: TestBlob,
  parts: readonly (readonly [number, number])[],
): Promise<void> {
  const file = Buffer.alloc(parts.at(-1)?.[1] ?? 0);
  for (const [from, to] of parts) bytes.copy(file, from, from, to);
  await writeFile(layout.fill(digest), file);
  await writeFile(mapOfFill(layout.fill(digest)), JSON.stringify(parts));
}

const downloadsOf = (blob: TestBlob) => ({ kind: 'blob', method: 'GET', reference: blob.digest }) as const;

test.each([true, false])(
  'a blob is stored with its size, its link and a report (size known: %s)',
  async (known) => {
    const scene = await begin();
    const { fill, joined } = start(scene, large, known);
    expect(joined).toBe(false);
    expect(await fill.size(neverAborted)).toBe(large.bytes.length);
    await fill.done;
    expect((await readFile(scene.layout.blob(large.digest))).equals(large.bytes)).toBe(true);
    expect(filesUnder(scene.layout.fills)).toEqual([]);
    expect(await scene.metadata.links.get(keyOf(scene.target), large.digest)).toMatchObject({
      size: large.bytes.length,
    });
    expect(scene.reports).toEqual([{ result: 'stored', bytes: large.bytes.length }]);
    expect(scene.fills.active).toBe(0);
    expect([...fill.upstreams]).toEqual([scene.upstream.host]);
    expect(fill.deliveries).toMatchObject([
      { upstream: scene.upstream.host, start: 0, end: large.bytes.length },
    ]);
  },
);

test('an empty blob is stored as well', async () => {
  const scene = await begin();
  const empty = makeBlob('empty', 0);
  scene.upstream.content.addBlob('org/app', empty);
  await start(scene, empty, false).fill.done;
  expect(await scene.store.size(empty.digest)).toBe(0);
});

test('all who ask while it runs join one download', async () => {
  const scene = await begin();
  const held = scene.upstream.script({ match: downloadsOf(small), hold: true });
  const first = start(scene, small);
  const others = [start(scene, small), start(scene, small, false)];
  for (const { fill, joined } of others) {
    expect(fill).toBe(first.fill);
    expect(joined).toBe(true);
  }
  held.release();
  await first.fill.done;
  expect(scene.upstream.journal.count(downloadsOf(small))).toBe(1);
});

test('downloads beyond the bound wait their turn', async () => {
  const scene = await begin({ concurrency: 1 });
  const held = scene.upstream.script({ match: downloadsOf(large), hold: true });
  const first = start(scene, large).fill;
  await held.reached();
  const second = start(scene, small).fill;
  expect(scene.fills.active).toBe(2);
  await new Promise(setImmediate);
  expect(scene.upstream.journal.count(downloadsOf(small))).toBe(0);
  held.release();
  await Promise.all([first.done, second.done]);
  expect(scene.reports.map((report) => report.result === 'stored' && report.bytes)).toEqual([
    large.bytes.length,
    small.bytes.length,
  ]);
});

test('a download that waits its turn begins although the one before it failed', async () => {
  const scene = await begin({ concurrency: 1 });
  scene.upstream.script({ match: downloadsOf(large), status: 404 });
  const [first, second] = [start(scene, large).fill, start(scene, small).fill];
  await expect(first.done).rejects.toMatchObject({ code: 'BLOB_UNKNOWN' });
  await second.done;
});

test('wrong bytes that nobody has seen are fetched again once', async () => {
  const scene = await begin();
  scene.upstream.script({ match: downloadsOf(small), corruptAt: 5, times: 1 });
  await start(scene, small).fill.done;
  expect(scene.upstream.journal.count(downloadsOf(small))).toBe(2);
  expect((await readFile(scene.layout.blob(small.digest))).equals(small.bytes)).toBe(true);
});

test('who was given wrong bytes is cut off, whoever comes later gets the right ones, and the blob is stored', async () => {
  const scene = await begin();
  scene.upstream.script({ match: downloadsOf(large), corruptAt: 5, stallAt: 3_000_000, times: 1 });
  const { fill } = start(scene, large);
  const [early, idle] = [fill.reader(), fill.reader()];
  const first = await readRange(early.read, { start: 0, end: 1_000_000 }, 100_000, neverAborted);
  expect(first.failure).toBeUndefined();
  expect(first.bytes.equals(large.bytes.subarray(0, 1_000_000))).toBe(false);
  const rest = readRange(early.read, { start: 1_000_000, end: 6_000_000 }, 100_000, neverAborted);
  scene.upstream.heal();
  const cut = await within(rest, 'the one who was given wrong bytes');
  expect(cut.failure).toBeInstanceOf(Error);
  const whole = { start: 0, end: large.bytes.length };
  const late = await within(readRange(idle.read, whole, 500_000, neverAborted), 'the other');
  expect(late.failure).toBeUndefined();
  expect(late.bytes.equals(large.bytes)).toBe(true);
  await Promise.all([early.close(), idle.close()]);
  await fill.done;
  expect(scene.upstream.journal.count(downloadsOf(large)), `${scene.upstream.journal}`).toBe(2);
  expect((await readFile(scene.layout.blob(large.digest))).equals(large.bytes)).toBe(true);
  expect(scene.reports).toEqual([{ result: 'stored', bytes: large.bytes.length }]);
  expect(scene.distrusted).toEqual([scene.upstream.host]);
});

test('wrong bytes twice are told, and nothing of them is kept', async () => {
  const scene = await begin();
  scene.upstream.script({ match: downloadsOf(small), corruptAt: 5 });
  const { fill } = start(scene, small);
  const reading = readRange(fill.reader().read, { start: 0, end: 10 }, 10, neverAborted);
  await expect(fill.done).rejects.toMatchObject({
    code: 'UNAVAILABLE',
    message: expect.stringContaining('wrong bytes'),
  });
  expect(await reading).toMatchObject({ bytes: Buffer.alloc(0), failure: { code: 'UNAVAILABLE' } });
  expect(scene.upstream.journal.count(downloadsOf(small))).toBe(2);
  expect(new Set(scene.distrusted)).toEqual(new Set([scene.upstream.host]));
  expect(scene.upstreams[0]?.health.exclusionFor('content')).toMatchObject({ kind: 'quarantined' });
  expect(filesUnder(scene.layout.fills)).toEqual([]);
  expect(await scene.store.size(small.digest)).toBeUndefined();
  expect(scene.reports).toMatchObject([{ result: 'corrupt' }]);
});

test('after a failure the next who asks starts anew', async () => {
  const scene = await begin();
  const fault = scene.upstream.script({ match: downloadsOf(small), status: 403 });
  await expect(start(scene, small).fill.done).rejects.toMatchObject({ code: 'DENIED' });
  fault.remove();
  const again = start(scene, small);
  expect(again.joined).toBe(false);
  await again.fill.done;
});

test('a download cut by one upstream continues at the missing byte on the next', async () => {
  const [flaky, steady] = [await startFakeUpstream(), await startFakeUpstream()];
  for (const upstream of [flaky, steady]) upstream.content.addBlob('org/app', large);
  const scene = await fillScene([flaky.url, steady.url]);
  flaky.script({ match: downloadsOf(large), cutAt: 2_000_000 });
  const { fill } = start(scene, large);
  await fill.done;
  expect(steady.journal.filter(downloadsOf(large)).map(({ headers }) => headers.range)).toEqual([
    'bytes=2000000-',
  ]);
  expect([...fill.upstreams]).toEqual([flaky.host, steady.host]);
  expect(fill.deliveries.map(({ upstream, start: from, end }) => [upstream, from, end])).toEqual([
    [flaky.host, 0, 2_000_000],
    [steady.host, 2_000_000, large.bytes.length],
  ]);
});

test('what an earlier run left is continued, not fetched again', async () => {
  const root = await temporaryDirectory();
  const upstream = await startFakeUpstream();
  upstream.content.addBlob('org/app', large);
  const scene = await fillScene([upstream.url], { root });
  await leave(scene, large, [[0, 4_000_000]]);
  await start(scene, large).fill.done;
  expect(upstream.journal.filter(downloadsOf(large)).map(({ headers }) => headers.range)).toEqual([
    'bytes=4000000-',
  ]);
  expect((await readFile(scene.layout.blob(large.digest))).equals(large.bytes)).toBe(true);
});

test('of what an earlier run left in pieces only the gaps are fetched', async () => {
  const scene = await begin();
  await leave(scene, large, [
    [0, 1_000_000],
    [2_000_000, 3_000_000],
    [5_000_000, 6_000_000],
  ]);
  await start(scene, large).fill.done;
  expect(scene.upstream.journal.filter(downloadsOf(large)).map(({ headers }) => headers.range)).toEqual([
    'bytes=1000000-1999999',
    'bytes=3000000-4999999',
  ]);
  expect((await readFile(scene.layout.blob(large.digest))).equals(large.bytes)).toBe(true);
});

test('what a crash left without a map is fetched again, and nothing of it is kept', async () => {
  const scene = await begin();
  await writeFile(scene.layout.fill(small.digest), Buffer.alloc(500_000, 1));
  await start(scene, small, false).fill.done;
  expect((await readFile(scene.layout.blob(small.digest))).equals(small.bytes)).toBe(true);
});

test('a map that a crash left without its file gives nobody a byte that is not there', async () => {
  const scene = await begin();
  await writeFile(mapOfFill(scene.layout.fill(large.digest)), JSON.stringify([[0, large.bytes.length]]));
  const { fill } = start(scene, large);
  const reader = fill.reader();
  const range = { start: 0, end: large.bytes.length };
  const reading = await readRange(reader.read, range, 500_000, neverAborted).finally(reader.close);
  expect(reading.failure).toBeUndefined();
  expect(reading.bytes.equals(large.bytes)).toBe(true);
  expect(scene.upstream.journal.count(downloadsOf(large))).toBe(1);
});

test('a whole file that an earlier run left needs no upstream', async () => {
  const scene = await begin();
  await leave(scene, small, [[0, small.bytes.length]]);
  await start(scene, small).fill.done;
  expect(scene.upstream.journal.count()).toBe(0);
  expect(await scene.store.size(small.digest)).toBe(small.bytes.length);
});

test('a damaged rest of a small blob is replaced without anybody noticing', async () => {
  const scene = await begin();
  await leave(scene, { ...small, bytes: Buffer.alloc(100_000, 1) }, [[0, 50_000]]);
  const { fill } = start(scene, small);
  const reader = fill.reader();
  const range = { start: 0, end: small.bytes.length };
  const reading = await readRange(reader.read, range, 30_000, neverAborted).finally(reader.close);
  expect(reading).toEqual({ bytes: small.bytes, failure: undefined });
  await fill.done;
  expect((await readFile(scene.layout.blob(small.digest))).equals(small.bytes)).toBe(true);
  // What the earlier run left was wrong: who brought the rest is not to blame.
  expect(scene.distrusted).toEqual([]);
  expect(scene.upstreams[0]?.health.exclusionFor('content')).toBeUndefined();
});

test('closing ends the downloads, tells who waits, and leaves what came for the next start', async () => {
  const scene = await begin();
  const stalled = scene.upstream.script({ match: downloadsOf(large), stallAt: 3_000_000 });
  const { fill } = start(scene, large);
  const reader = fill.reader();
  const range = { start: 0, end: 6_000_000 };
  const reading = readRange(reader.read, range, 100_000, neverAborted).finally(reader.close);
  await stalled.reached();
  await vi.waitUntil(() => fill.arrival.arrived().size === 3_000_000, { timeout: patience });
  await within(scene.fills.close(), 'the fills to close');
  expect((await reading).failure).toMatchObject({ code: 'UNAVAILABLE' });
  const name = basename(scene.layout.fill(large.digest));
  expect(filesUnder(scene.layout.fills)).toEqual([name, `${name}.map`]);
  expect(await readFile(mapOfFill(scene.layout.fill(large.digest)), 'utf8')).toBe('[[0,3000000]]');
  expect(openFilesUnder(scene.layout.fills)).toEqual([]);
  expect(() => start(scene, small)).toThrow(expect.objectContaining({ code: 'UNAVAILABLE' }));
});

test('a download that nobody waits for is given up after a while', async () => {
  const scene = await begin({ patience: 50 });
  scene.upstream.script({ match: downloadsOf(small), hang: true });
  const { fill } = start(scene, small);
  const reader = fill.reader();
  await reader.close();
  await expect(within(fill.done, 'the end')).rejects.toMatchObject({ code: 'UNAVAILABLE' });
  expect(scene.reports).toMatchObject([{ result: 'abandoned' }]);
  expect(filesUnder(scene.layout.fills)).toEqual([]);
});

test('a blob beyond the limit is not taken in', async () => {
  const scene = await begin({ sizeLimit: 50_000, download: { rounds: 1, pause: 1 } });
  await expect(start(scene, small, false).fill.done).rejects.toMatchObject({ code: 'UNAVAILABLE' });
  expect(filesUnder(scene.layout.fills)).toEqual([]);
});

test('a blob that is not as long as its manifest says is not taken in', async () => {
  const scene = await begin({ download: { rounds: 1, pause: 1 } });
  for (const size of [small.bytes.length - 1, small.bytes.length + 1]) {
    const { fill } = scene.fills.join(scene.target, small.digest, size);
    await expect(fill.done).rejects.toMatchObject({ code: 'UNAVAILABLE' });
  }
  expect(await scene.store.size(small.digest)).toBeUndefined();
});

test.each(['the folder is gone', 'something else is in the way'])(
  'a disk that cannot be written is told to who waits: %s',
  async (how) => {
    const scene = await begin();
    await rm(scene.layout.fills, { recursive: true });
    if (how !== 'the folder is gone') await mkdir(scene.layout.fill(small.digest), { recursive: true });
    const { fill } = start(scene, small);
    await expect(within(fill.done, 'the failure')).rejects.toMatchObject({
      code: 'UNAVAILABLE',
      message: expect.stringContaining('cannot write'),
    });
    expect(scene.reports).toMatchObject([{ result: 'failed' }]);
    expect(scene.fills.active).toBe(0);
  },
);

test('a map that cannot be written keeps no file open', async () => {
  const scene = await begin();
  await mkdir(`${mapOfFill(scene.layout.fill(small.digest))}.new`, { recursive: true });
  await start(scene, small).fill.done.catch(() => undefined);
  expect([...openFilesUnder(scene.layout.fills), ...openFilesUnder(scene.layout.blobs)]).toEqual([]);
});

test('a throttled blob is fetched by several connections of two upstreams, each byte once', async () => {
  const blob = makeBlob('throttled', 12_000_000);
  const several = [await startFakeUpstream(), await startFakeUpstream()];
  for (const upstream of several) {
    upstream.content.addBlob('org/app', blob);
    upstream.script({ match: downloadsOf(blob), bytesPerSecond: 1_000_000 });
  }
  const scene = await fillScene(
    several.map(({ url }) => url),
    { configured: [{ maxConnections: 4 }, { maxConnections: 4 }] },
  );
  const { fill } = start(scene, blob);
  await within(fill.done, 'the blob');
  expect((await readFile(scene.layout.blob(blob.digest))).equals(blob.bytes)).toBe(true);
  expect([...fill.upstreams].toSorted()).toEqual(several.map(({ host }) => host).toSorted());
  const served = fill.deliveries.reduce((sum, { start: from, end }) => sum + end - from, 0);
  expect(served).toBe(blob.bytes.length);
  for (const { journal } of several) {
    const most = journal.mostAtOnce(downloadsOf(blob));
    expect(most).toBeGreaterThan(0);
    expect(most).toBeLessThanOrEqual(4);
  }
});
