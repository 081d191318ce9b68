import { expect, onTestFinished, test, vi } from 'vitest';
import { neverAborted } from '../../../src/lib/abort.ts';
import { FillWorkers } from '../../../src/pull/threads/fill-workers.ts';
import { startFakeUpstream } from '../../helpers/fake-upstream.ts';
import { within } from '../../helpers/gate.ts';
import { makeBlob, type TestBlob } from '../../helpers/image.ts';
import { filesUnder } from '../../helpers/leaks.ts';
import { fillScene } from '../fill/fill-scene.ts';

const [first, second, third] = ['first', 'second', 'third'].map((name) => makeBlob(name, 50_000)) as [
  TestBlob,
  TestBlob,
  TestBlob,
];
const downloadsOf = ({ digest }: TestBlob) => ({ kind: 'blob', method: 'GET', reference: digest }) as const;

/** A scene in which one download at a time may run; the first runs until `release`, and a reader keeps it alive. */
async function begin(options: Parameters<typeof fillScene>[1] = {}) {
  const slots = vi.spyOn(FillWorkers.prototype, 'slot');
  onTestFinished(() => slots.mockRestore());
  const upstream = await startFakeUpstream();
  for (const blob of [first, second, third]) upstream.content.addBlob('org/app', blob);
  const scene = await fillScene([upstream.url], { concurrency: 1, ...options });
  const held = upstream.script({ match: downloadsOf(first), hold: true });
  const start = ({ digest, bytes }: TestBlob) => scene.fills.join(scene.target, digest, bytes.length).fill;
  const running = start(first);
  const reader = running.reader();
  await held.reached();
  return { upstream, scene, start, running, reader, held, slots };
}

test('a download that waits its turn takes no place in a worker', async () => {
  const { start, slots, held, running, reader } = await begin();
  const waiting = start(second);
  await new Promise(setImmediate);
  expect([waiting.state.kind, slots.mock.calls.length]).toEqual(['waiting', 1]);
  held.release();
  await within(Promise.all([running.done, waiting.done]), 'both');
  expect(slots).toHaveBeenCalledTimes(2);
  await reader.close();
});

test('one that nobody waits for leaves the queue at once, and the next takes its place', async () => {
  const { scene, upstream, start, running, reader, held, slots } = await begin({ patience: 50 });
  const waiting = start(second);
  const [own, behind] = [waiting.reader(), start(third)];
  const kept = behind.reader();
  const reading = own.read(Buffer.alloc(10), 10, 0, neverAborted).catch((error: Error) => error);
  await own.close();
  await expect(within(waiting.done, 'the end')).rejects.toMatchObject({ code: 'UNAVAILABLE' });
  expect(await within(reading, 'who still read')).toBeInstanceOf(Error);
  expect(scene.reports).toMatchObject([{ result: 'abandoned' }]);
  expect([scene.fills.active, slots.mock.calls.length]).toEqual([2, 1]);
  held.release();
  await within(Promise.all([running.done, behind.done]), 'the others');
  expect(upstream.journal.count(downloadsOf(second))).toBe(0);
  expect(filesUnder(scene.layout.fills)).toEqual([]);
  await Promise.all([reader.close(), kept.close()]);
});

test('closing ends those that wait without beginning them', async () => {
  const { scene, upstream, start, running, reader } = await begin();
  const waiting = [start(second), start(third)];
  await within(scene.fills.close(), 'the fills to close');
  for (const fill of [running, ...waiting]) {
    await expect(fill.done).rejects.toMatchObject({ code: 'UNAVAILABLE' });
  }
  expect(upstream.journal.count(downloadsOf(second)) + upstream.journal.count(downloadsOf(third))).toBe(0);
  await reader.close();
});
