import { readFile } from 'node:fs/promises';
import fc from 'fast-check';
import { expect, onTestFinished, test, vi } from 'vitest';
import { neverAborted } from '../../../src/lib/abort.ts';
import type { Fill } from '../../../src/pull/fill/fill.ts';
import { FillFiles } from '../../../src/store/disk/fill-files.ts';
import type { Fault } from '../../helpers/fake-faults.ts';
import { startFakeUpstream } from '../../helpers/fake-upstream.ts';
import { makeGate, within } from '../../helpers/gate.ts';
import { makeBlob, type TestBlob } from '../../helpers/image.ts';
import { filesUnder, openFilesUnder } from '../../helpers/leaks.ts';
import { howOften } from '../../helpers/runs.ts';
import { type FillScene, fillScene } from '../fill/fill-scene.ts';
import { type Reading, readRange } from '../fill/reading.ts';

const small = makeBlob('small', 100_000);
const large = makeBlob('large', 6_000_000);

/** An upstream that has the blobs, and a scene in front of it. */
async function begin() {
  const upstream = await startFakeUpstream();
  for (const blob of [small, large]) upstream.content.addBlob('org/app', blob);
  return { upstream, ...(await fillScene([upstream.url], { failures: 100 })) };
}

function start({ fills, target }: Pick<FillScene, 'fills' | 'target'>, { digest, bytes }: TestBlob) {
  return fills.join(target, digest, bytes.length);
}

/** Reads a range from a fill, as one client does. */
function readFrom(fill: Fill, range: { start: number; end: number }): Promise<Reading> {
  const reader = fill.reader();
  return readRange(reader.read, range, 500_000, neverAborted).finally(reader.close);
}

const downloadsOf = (blob: TestBlob) => ({ kind: 'blob', method: 'GET', reference: blob.digest }) as const;

/** Holds the cleaning up of fills: `begun` once one begins, `go` lets it go on. */
function holdCleaning(when: 'before' | 'after') {
  const [begun, go] = [makeGate(), makeGate()];
  const { remove } = FillFiles.prototype;
  const spy = vi.spyOn(FillFiles.prototype, 'remove').mockImplementation(async function (
    this: FillFiles,
    digest,
  ) {
    if (when === 'after') await remove.call(this, digest);
    begun.open();
    await go.opened;
    if (when === 'before') await remove.call(this, digest);
  });
  onTestFinished(() => {
    go.open();
    spy.mockRestore();
  });
  return { begun: begun.opened, go: () => go.open() };
}

test.each(['before', 'after'] as const)(
  'who comes while a failed download is cleaned up gets another, which begins after that (%s the removal)',
  async (when) => {
    const scene = await begin();
    const cleaning = holdCleaning(when);
    const fault = scene.upstream.script({ match: downloadsOf(large), corruptAt: 5 });
    const first = start(scene, large).fill;
    const waiting = readFrom(first, { start: 5_999_990, end: 6_000_000 });
    await within(cleaning.begun, 'the cleaning up');
    const late = readFrom(first, { start: 0, end: 10 });
    // Told although nothing is cleaned up yet.
    for (const told of await within(Promise.all([waiting, late]), 'the readers')) {
      expect(told.failure).toMatchObject({ code: 'UNAVAILABLE' });
    }
    expect((await late).bytes).toHaveLength(0);
    expect(scene.reports).toMatchObject([{ result: 'corrupt' }]);
    const asked = scene.upstream.journal.count(downloadsOf(large));
    fault.remove();
    const second = start(scene, large);
    expect(second.joined).toBe(false);
    expect(second.fill).not.toBe(first);
    expect(start(scene, large)).toEqual({ fill: second.fill, joined: true });
    const whole = readFrom(second.fill, { start: 0, end: 6_000_000 });
    await new Promise(setImmediate);
    expect(scene.upstream.journal.count(downloadsOf(large))).toBe(asked);
    cleaning.go();
    const { bytes, failure } = await within(whole, 'the second');
    expect([failure, bytes.equals(large.bytes)]).toEqual([undefined, true]);
    await expect(first.done).rejects.toMatchObject({ code: 'UNAVAILABLE' });
    await second.fill.done;
    expect((await readFile(scene.layout.blob(large.digest))).equals(large.bytes)).toBe(true);
    expect(scene.fills.active).toBe(0);
  },
);

test('closing waits for the cleaning up, and begins nothing that waited for it', async () => {
  const scene = await begin();
  const cleaning = holdCleaning('before');
  scene.upstream.script({ match: downloadsOf(small), status: 403 });
  const first = start(scene, small).fill;
  await within(cleaning.begun, 'the cleaning up');
  const second = start(scene, small).fill;
  const closed = scene.fills.close();
  cleaning.go();
  await within(closed, 'the fills to close');
  await expect(first.done).rejects.toMatchObject({ code: 'DENIED' });
  await expect(second.done).rejects.toMatchObject({ code: 'UNAVAILABLE' });
  expect(scene.upstream.journal.count(downloadsOf(small))).toBe(1);
  expect(filesUnder(scene.layout.fills)).toEqual([]);
});

test('one that is given up while it waits for the cleaning up is told at once, and the next one waits in its place', async () => {
  const scene = await begin();
  const cleaning = holdCleaning('before');
  const fault = scene.upstream.script({ match: downloadsOf(small), status: 403 });
  start(scene, small);
  await within(cleaning.begun, 'the cleaning up');
  fault.remove();
  const second = start(scene, small).fill;
  const reason = new Error('nobody waits for it');
  second.abort(reason);
  await expect(within(second.outcome, 'the second')).rejects.toMatchObject({ cause: reason });
  const third = start(scene, small);
  expect(third.joined).toBe(false);
  await new Promise(setImmediate);
  expect(scene.upstream.journal.count(downloadsOf(small))).toBe(1);
  expect([second.state.kind, third.fill.state.kind]).toEqual(['cleaning', 'waiting']);
  cleaning.go();
  await within(third.fill.done, 'the third');
  expect((await readFile(scene.layout.blob(small.digest))).equals(small.bytes)).toBe(true);
  expect(scene.fills.active).toBe(0);
});

test('what had failed before the server stops is not left for the next start', async () => {
  const scene = await begin();
  scene.upstream.script({ match: downloadsOf(small), corruptAt: 5 });
  // At the very moment at which it is told.
  const closed = new Promise<void>((resolve) => {
    vi.spyOn(scene.reports, 'push').mockImplementation(() => {
      resolve(scene.fills.close());
      return 1;
    });
  });
  const { fill } = start(scene, small);
  await within(closed, 'the fills to close');
  await expect(fill.done).rejects.toMatchObject({ code: 'UNAVAILABLE' });
  expect(filesUnder(scene.layout.fills)).toEqual([]);
});

/** Turns of the event loop. */
const pause = fc.constantFrom(0, 1, 2, 5, 20);

async function turns(count: number): Promise<void> {
  for (let turn = 0; turn < count; turn += 1) await new Promise(setImmediate);
}

/** How the first copies fail; after that the upstream works. */
const failing = fc.constantFrom<Fault>(
  { corruptAt: 10 },
  { corruptAt: '99%' },
  { status: 403 },
  { truncateTo: 90_000 },
);

test('whoever comes at whatever moment of the cleaning up gets the right bytes, and those are kept', async () => {
  const scene = await begin();
  const seen = { during: 0, after: 0, told: 0, replaced: 0 };
  let runs = 0;
  await fc.assert(
    fc.asyncProperty(
      fc.record({
        size: fc.constantFrom(100_000, 6_000_000),
        fault: failing,
        /** How often a download fails before the upstream works. */
        failures: fc.integer({ min: 1, max: 2 }),
        /** Before and after the removal itself. */
        cleaning: fc.tuple(pause, pause),
        /** When clients come, from the verdict on. */
        clients: fc.array(pause, { minLength: 1, maxLength: 4 }),
      }),
      async ({ size, fault, failures, cleaning: [before, after], clients }) => {
        const blob = makeBlob(`run-${runs++}`, size);
        scene.upstream.content.addBlob('org/app', blob);
        await scene.allow(blob.digest, size);
        let cleaning = 0;
        const { remove } = FillFiles.prototype;
        const spy = vi.spyOn(FillFiles.prototype, 'remove').mockImplementation(async function (
          this: FillFiles,
          digest,
        ) {
          cleaning += 1;
          await turns(before);
          await remove.call(this, digest);
          await turns(after);
          cleaning -= 1;
        });
        const read = async (): Promise<Reading> => {
          seen[cleaning > 0 ? 'during' : 'after'] += 1;
          let opened: Awaited<ReturnType<FillScene['blobs']['open']>>;
          try {
            opened = await scene.blobs.open(scene.target, blob.digest, neverAborted);
          } catch (error) {
            return { bytes: Buffer.alloc(0), failure: error as Error };
          }
          const range = { start: 0, end: size };
          return await readRange(opened.read, range, 500_000, neverAborted).finally(opened.close);
        };
        try {
          const faulty = scene.upstream.script({ match: downloadsOf(blob), ...fault });
          for (let failed = 0; failed < failures; failed += 1) {
            const { fill, joined } = start(scene, blob);
            expect(joined).toBe(false);
            if (failed > 0) seen.replaced += 1;
            // The last byte is shown to nobody before the verdict.
            const first = readFrom(fill, { start: size - 1, end: size });
            expect((await within(first, 'the verdict')).failure).toMatchObject({ code: expect.any(String) });
            seen.told += 1;
          }
          faulty.remove();
          for (const { health } of scene.upstreams) health.observeSuccess();
          const visits = clients.map(async (comes) => {
            await turns(comes);
            return await read();
          });
          for (const { bytes, failure } of await within(Promise.all(visits), 'the clients')) {
            expect(failure).toBeUndefined();
            expect(bytes.equals(blob.bytes)).toBe(true);
          }
          await scene.fills.find(blob.digest)?.done;
          expect((await readFile(scene.layout.blob(blob.digest))).equals(blob.bytes)).toBe(true);
          expect(filesUnder(scene.layout.fills)).toEqual([]);
          expect(scene.fills.active).toBe(0);
        } finally {
          spy.mockRestore();
        }
      },
    ),
    { numRuns: howOften(40, 30) },
  );
  for (const [kind, count] of Object.entries(seen)) expect(count, kind).toBeGreaterThan(0);
  expect(openFilesUnder(scene.layout.fills)).toEqual([]);
});
