import { expect, test } from 'vitest';
import { neverAborted } from '../../src/lib/abort.ts';
import { BackgroundBudget } from '../../src/pull/background-budget.ts';
import { startFakeUpstream } from '../helpers/fake-upstream.ts';
import { within } from '../helpers/gate.ts';
import { makeBlob } from '../helpers/image.ts';
import { fillScene } from './fill/fill-scene.ts';
import { readRange } from './fill/reading.ts';

const large = makeBlob('large', 1_500_000);
const small = makeBlob('small', 1_000);
const unlimited = { requests: undefined, bytesPerSecond: undefined };

async function scene() {
  const upstream = await startFakeUpstream();
  const room = await fillScene([upstream.url], { configured: [{ minSpeed: 400_000 }] });
  for (const blob of [large, small]) {
    upstream.content.addBlob('org/app', blob);
    await room.allow(blob.digest, blob.bytes.length);
  }
  const on = (budget: BackgroundBudget) => ({ ...room.target, budget });
  return { upstream, ...room, on };
}

test('background work may send so many requests: downloads that it begins count once, those that it joins do not', async () => {
  const { blobs, on, target } = await scene();
  const budget = new BackgroundBudget({ requests: 1, bytesPerSecond: undefined });
  const own = blobs.begin(on(budget), large.digest, neverAborted);
  await own;
  expect(budget).toMatchObject({ used: 1, spent: true });
  await blobs.begin(on(budget), large.digest, neverAborted);
  const begin = blobs.begin(on(budget), small.digest, neverAborted);
  await expect(begin).rejects.toMatchObject({ code: 'BUDGET_SPENT' });
  expect(budget.used).toBe(1);
  // What background work may not do, a client may.
  await blobs.begin(target, small.digest, neverAborted);
});

test('background work that may send any number is not bounded', () => {
  const budget = new BackgroundBudget(unlimited);
  for (let request = 0; request < 100; request += 1) budget.spend();
  expect(budget).toMatchObject({ used: 100, spent: false, throttled: false, bandwidths: [] });
});

test('background work keeps to its bandwidth, and its slowness is not held against the upstream', async () => {
  const { blobs, on, upstreams, log } = await scene();
  const budget = new BackgroundBudget({ requests: undefined, bytesPerSecond: 1_000_000 });
  const started = performance.now();
  await blobs.begin(on(budget), large.digest, neverAborted);
  // A burst, and the last piece, are free.
  expect(performance.now() - started).toBeGreaterThan(700);
  expect(upstreams[0]?.health.bytesPerSecond).toBeUndefined();
  expect(log.lines.map(({ message }) => message)).toEqual(['blob downloaded']);
});

test('a client that wants what background work fetches is not held back', async () => {
  const { upstream, blobs, on, target, fills } = await scene();
  // At this pace it would take a quarter of an hour.
  const budget = new BackgroundBudget({ requests: undefined, bytesPerSecond: 1_700 });
  const slow = blobs.begin(on(budget), large.digest, neverAborted);
  await upstream.journal.reaches(({ bytes }) => bytes > 0);
  const content = await blobs.open(target, large.digest, neverAborted);
  expect(content.outcome).toBe('joined');
  const reading = readRange(content.read, { start: 0, end: content.size }, 100_000, neverAborted);
  expect((await within(reading, 'the blob')).bytes).toEqual(large.bytes);
  await content.close();
  await slow;
  await fills.find(large.digest)?.done;
  expect(upstream.journal.count({ kind: 'blob' })).toBe(1);
});
