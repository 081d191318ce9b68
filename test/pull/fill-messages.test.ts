import { Worker } from 'node:worker_threads';
import fc from 'fast-check';
import { expect, onTestFinished, test } from 'vitest';
import { FillProgress, readable } from '../../src/pull/fill-messages.ts';
import { within } from '../helpers/gate.ts';

const mebibyte = 1024 * 1024;

test('before the digest is verified the last piece is held back, and a small blob entirely', () => {
  const size = fc.oneof(fc.nat(4 * mebibyte), fc.integer({ min: 4 * mebibyte + 1, max: 2 ** 40 }));
  fc.assert(
    fc.property(size, fc.nat(1_000), (whole, thousandths) => {
      const written = Math.floor((whole / 1_000) * thousandths);
      const front = readable(written, whole);
      expect(front).toBeLessThanOrEqual(written);
      if (whole <= 4 * mebibyte) expect(front).toBe(0);
      else expect(front).toBe(Math.min(written, whole - 512 * 1024));
    }),
  );
});

test('what may be read never shrinks as bytes arrive', () => {
  fc.assert(
    fc.property(fc.nat(2 ** 40), fc.nat(2 ** 40), fc.nat(2 ** 40), (size, written, more) => {
      expect(readable(written + more, size)).toBeGreaterThanOrEqual(readable(written, size));
    }),
  );
});

test('a front beyond four gigabytes is told exactly', () => {
  const progress = new FillProgress();
  expect(progress.front).toBe(0);
  progress.publish(2 ** 45 + 1);
  expect(new FillProgress(progress.shared).front).toBe(2 ** 45 + 1);
});

test('who waits is woken by a front that moves, by a wake, and at once by one that has moved', async () => {
  const progress = new FillProgress();
  const moved = progress.changed(0);
  progress.publish(5);
  await within(moved, 'the publication');
  await within(progress.changed(0), 'the front that had moved');
  const woken = progress.changed(5);
  progress.wake();
  await within(woken, 'the wake');
  expect(progress.front).toBe(5);
});

test('who waits is woken by a publication of another thread', async () => {
  const progress = new FillProgress();
  const source = `
    const { workerData } = require('node:worker_threads');
    const front = new BigInt64Array(workerData);
    Atomics.store(front, 0, 7n);
    Atomics.notify(front, 0);
  `;
  const waiting = Promise.all([progress.changed(0), progress.changed(0)]);
  const worker = new Worker(source, { eval: true, workerData: progress.shared });
  onTestFinished(async () => {
    await worker.terminate();
  });
  await within(waiting, 'the other thread');
  expect(progress.front).toBe(7);
});
