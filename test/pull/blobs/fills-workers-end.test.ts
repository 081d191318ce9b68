import { readFile } from 'node:fs/promises';
import { Worker } from 'node:worker_threads';
import fc from 'fast-check';
import { expect, test, vi } from 'vitest';
import { neverAborted } from '../../../src/lib/abort.ts';
import type { Fill } from '../../../src/pull/fill/fill.ts';
import { startFakeUpstream } from '../../helpers/fake-upstream.ts';
import { within } from '../../helpers/gate.ts';
import { makeBlob, type TestBlob } from '../../helpers/image.ts';
import { filesUnder } from '../../helpers/leaks.ts';
import { howOften } from '../../helpers/runs.ts';
import { fillScene } from '../fill/fill-scene.ts';
import { readRange } from '../fill/reading.ts';

const entry = new URL('../../../src/pull/threads/fill-worker.ts', import.meta.url);
const blob = makeBlob('workers', 6_000_000);
const size = blob.bytes.length;
const downloadsOf = ({ digest }: TestBlob) => ({ kind: 'blob', method: 'GET', reference: digest }) as const;
const match = downloadsOf(blob);

/** A scene whose workers the test can end. */
async function begin(options: Parameters<typeof fillScene>[1] = {}) {
  const workers: Worker[] = [];
  const upstream = await startFakeUpstream();
  upstream.content.addBlob('org/app', blob);
  const scene = await fillScene([upstream.url], {
    failures: 1_000,
    startWorker: () => {
      const worker = new Worker(entry);
      workers.push(worker);
      return worker;
    },
    ...options,
  });
  const start = (which = blob) => scene.fills.join(scene.target, which.digest, which.bytes.length).fill;
  const arrived = (fill: Fill, bytes: number) =>
    vi.waitUntil(() => fill.arrival.arrived().size === bytes, { timeout: 60_000 });
  /** Ends the worker that has been started last, or all of them. */
  const end = async (which: readonly Worker[] = workers.slice(-1)) => {
    await Promise.all(which.map((worker) => worker.terminate()));
  };
  return { upstream, scene, workers, start, arrived, end };
}

/** A reader of a whole fill. */
function readAll(fill: Fill, bytes = size) {
  const reader = fill.reader();
  return readRange(reader.read, { start: 0, end: bytes }, 500_000, neverAborted).finally(reader.close);
}

test('a download goes on in another worker at the missing byte, and its readers do not notice', async () => {
  const { upstream, scene, start, arrived, end } = await begin();
  const stalled = upstream.script({ match, stallAt: 3_000_000 });
  const fill = start();
  const reading = readAll(fill);
  await stalled.reached();
  await arrived(fill, 3_000_000);
  upstream.heal();
  await end();
  const { bytes, failure } = await within(reading, 'the reader', 60_000);
  expect([failure, bytes.equals(blob.bytes)]).toEqual([undefined, true]);
  await fill.done;
  expect((await readFile(scene.layout.blob(blob.digest))).equals(blob.bytes)).toBe(true);
  expect(upstream.journal.filter(match).map(({ headers }) => headers.range)).toEqual([
    undefined,
    'bytes=3000000-',
  ]);
  expect(scene.log.lines.map(({ message }) => message)).toContain('blob download goes on in another worker');
  expect(scene.reports).toEqual([{ result: 'stored', bytes: size }]);
});

test('wrong bytes that were brought in one worker are found out in the next, and fetched again', async () => {
  const { upstream, scene, start, arrived, end } = await begin();
  const stalled = upstream.script({ match, corruptAt: 5, stallAt: 3_000_000, times: 1 });
  const fill = start();
  await stalled.reached();
  await arrived(fill, 3_000_000);
  const late = readAll(fill);
  upstream.heal();
  await end();
  expect((await within(late, 'who was given wrong bytes', 60_000)).failure).toBeInstanceOf(Error);
  await within(fill.done, 'the blob', 60_000);
  expect((await readFile(scene.layout.blob(blob.digest))).equals(blob.bytes)).toBe(true);
  // Whose bytes were wrong is not known for sure: some were there before.
  expect(filesUnder(scene.layout.fills)).toEqual([]);
});

test('a download under which three workers end fails, says so, and leaves nothing', async () => {
  const { upstream, scene, start, workers, end } = await begin();
  const fill = start();
  const reading = readAll(fill);
  for (let turn = 1; turn <= 3; turn += 1) {
    const stalled = upstream.script({ match, stallAt: 100_000 * turn });
    await within(stalled.reached(), 'the download', 60_000);
    await end();
  }
  const text = expect.stringMatching(/a worker of the mirror ended .* try again/);
  expect((await within(reading, 'the reader', 60_000)).failure).toMatchObject({
    code: 'UNAVAILABLE',
    message: text,
  });
  await expect(fill.done).rejects.toMatchObject({ message: text });
  expect(scene.reports).toEqual([{ result: 'failed' }]);
  expect(filesUnder(scene.layout.fills)).toEqual([]);
  upstream.heal();
  await vi.waitUntil(() => workers.length === 4, { timeout: 60_000 });
  await within(start().done, 'the next', 60_000);
});

test('while no worker can be started, downloads fail and say so, and the workers are said to fail', async () => {
  const { scene, start } = await begin({
    threads: 2,
    startWorker: () => new Worker('throw new Error("no memory")', { eval: true, stderr: true }),
  });
  await vi.waitUntil(() => scene.workers.failing !== undefined, { timeout: 60_000 });
  await expect(within(start().done, 'the failure', 60_000)).rejects.toMatchObject({
    code: 'UNAVAILABLE',
    message: expect.stringContaining('a worker of the mirror ended'),
  });
  const told = scene.log.lines.filter(({ message }) => message === 'fill worker ended');
  expect(told.map(({ fields }) => fields['cause'])).toEqual(['no memory']);
});

test('a download that is asked for between two workers waits for the second', async () => {
  const { scene, start, end } = await begin();
  await end();
  expect(scene.workers.failing).toBeUndefined();
  await within(start().done, 'the blob', 60_000);
});

test('one that waits for a worker can be given up', async () => {
  const { scene, start } = await begin({
    startWorker: () => {
      throw new Error('no memory');
    },
  });
  const fill = start();
  await new Promise(setImmediate);
  const reason = new Error('nobody waits');
  fill.abort(reason);
  await expect(within(fill.outcome, 'the end', 60_000)).rejects.toMatchObject({ cause: reason });
  expect(scene.reports).toEqual([{ result: 'abandoned' }]);
});

/** When a worker ends: after how many turns of the event loop, and which. */
const kill = fc.record({ after: fc.constantFrom(0, 1, 5, 20, 60, 200), which: fc.nat(1) });

test('whenever workers end, each reader gets the right bytes or an error, and what is stored is right', async () => {
  const { upstream, scene, workers, start, end } = await begin({ threads: 2, hashedApartFrom: 0 });
  const seen = { right: 0, failed: 0 };
  let runs = 0;
  await fc.assert(
    fc.asyncProperty(
      fc.array(kill, { maxLength: 4 }),
      fc.constantFrom(70_000, 5_000_000),
      fc.boolean(),
      async (kills, length, throttled) => {
        const one = makeBlob(`killed-${runs++}`, length);
        upstream.content.addBlob('org/app', one);
        if (throttled) upstream.script({ match: downloadsOf(one), bytesPerSecond: 20_000_000 });
        // One that has ended has no id.
        await vi.waitUntil(() => workers.some(({ threadId }) => threadId > 0), { timeout: 120_000 });
        const fill = start(one);
        const readings = [readAll(fill, length), readAll(fill, length)];
        for (const { after, which } of kills) {
          for (let turn = 0; turn < after; turn += 1) await new Promise(setImmediate);
          const worker = workers.at(-1 - which);
          if (worker !== undefined) await end([worker]);
        }
        for (const { bytes, failure } of await within(Promise.all(readings), 'the readers', 60_000)) {
          expect(bytes.equals(one.bytes.subarray(0, bytes.length))).toBe(true);
          if (failure === undefined) expect(bytes.length).toBe(length);
          else expect(failure).toMatchObject({ message: expect.stringContaining('a worker of the mirror') });
          seen[failure === undefined ? 'right' : 'failed'] += 1;
        }
        const stored = await fill.done.then(
          () => true,
          () => false,
        );
        if (stored) expect((await readFile(scene.layout.blob(one.digest))).equals(one.bytes)).toBe(true);
        if (kills.length === 0) expect(stored).toBe(true);
        expect(filesUnder(scene.layout.fills)).toEqual([]);
      },
    ),
    { numRuns: howOften(25, 6) },
  );
  expect(seen.right).toBeGreaterThan(0);
});
