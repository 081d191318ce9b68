import { Worker } from 'node:worker_threads';
import { expect, onTestFinished, test } from 'vitest';
import { FillProgress, laneSlots } from '../../../src/pull/threads/fill-progress.ts';
import { within } from '../../helpers/gate.ts';

test('a position and a stop beyond four gigabytes are told exactly', () => {
  const progress = new FillProgress();
  expect([progress.position(0), progress.stop(0)]).toEqual([0, 0]);
  progress.begin(0, 2 ** 45, Number.MAX_SAFE_INTEGER);
  progress.advance(0, 2 ** 45 + 1);
  const other = new FillProgress(progress.shared);
  expect([other.position(0), other.stop(0)]).toEqual([2 ** 45 + 1, Number.MAX_SAFE_INTEGER]);
});

test('lanes do not disturb one another, however many there are', () => {
  const progress = new FillProgress();
  for (let slot = 0; slot < laneSlots; slot += 1) {
    progress.begin(slot, slot * 1_000, slot * 1_000 + 500);
    progress.advance(slot, slot * 1_000 + slot);
    progress.cut(slot, slot * 1_000 + 400);
  }
  const other = new FillProgress(progress.shared);
  for (let slot = 0; slot < laneSlots; slot += 1) {
    expect([other.position(slot), other.stop(slot)]).toEqual([slot * 1_001, slot * 1_000 + 400]);
  }
});

test('a slot that is used again begins anew', () => {
  const progress = new FillProgress();
  progress.begin(3, 0, 100);
  progress.advance(3, 100);
  progress.begin(3, 50, 60);
  expect([progress.position(3), progress.stop(3)]).toEqual([50, 60]);
});

test('who waits is woken by a lane that comes further, by a wake, and at once by one that had come further', async () => {
  const progress = new FillProgress();
  progress.begin(0, 0, 10);
  const before = progress.epoch;
  const moved = progress.changed(before);
  progress.advance(0, 5);
  await within(moved, 'the lane');
  expect(progress.epoch).not.toBe(before);
  await within(progress.changed(before), 'the lane that had come further');
  const woken = progress.changed(progress.epoch);
  progress.wake();
  await within(woken, 'the wake');
  expect(progress.position(0)).toBe(5);
});

test('who waits is woken by a lane of another thread', async () => {
  const progress = new FillProgress();
  const module = new URL('../../../src/pull/threads/fill-progress.ts', import.meta.url).href;
  const source = `
    const { workerData } = require('node:worker_threads');
    import(${JSON.stringify(module)}).then(({ FillProgress }) => new FillProgress(workerData).advance(2, 7));
  `;
  const { epoch } = progress;
  const waiting = Promise.all([progress.changed(epoch), progress.changed(epoch)]);
  const worker = new Worker(source, { eval: true, workerData: progress.shared });
  onTestFinished(async () => {
    await worker.terminate();
  });
  await within(waiting, 'the other thread');
  expect(progress.position(2)).toBe(7);
});

test('what one thread cuts, another sees at its next look', async () => {
  const progress = new FillProgress();
  progress.begin(1, 0, 1_000);
  const module = new URL('../../../src/pull/threads/fill-progress.ts', import.meta.url).href;
  const source = `
    const { parentPort, workerData } = require('node:worker_threads');
    import(${JSON.stringify(module)}).then(({ FillProgress }) => {
      const progress = new FillProgress(workerData);
      parentPort.on('message', () => parentPort.postMessage(progress.stop(1)));
      parentPort.postMessage(progress.stop(1));
    });
  `;
  const worker = new Worker(source, { eval: true, workerData: progress.shared });
  onTestFinished(async () => {
    await worker.terminate();
  });
  const told = () => new Promise((resolve) => worker.once('message', resolve));
  expect(await within(told(), 'the stop')).toBe(1_000);
  const next = told();
  progress.cut(1, 300);
  worker.postMessage('look');
  expect(await within(next, 'the stop after the cut')).toBe(300);
});
