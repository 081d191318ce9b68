import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { HedgeBudget } from '../../../src/pull/asking/hedge-budget.ts';
import { nobody, pullFacts } from '../../helpers/facts.ts';
import { begins, blob, flow, settle, size, start } from './download-flow.ts';
import type { TestLane } from './download-scene.ts';

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

test('a connection below the least speed for five seconds is given up for another upstream, and said to be', async () => {
  const { scene, download } = await start({
    a: { minSpeed: 100_000, script: begins },
    b: { maxConnections: 2, script: begins },
  });
  const rateOf = ({ upstream }: TestLane) => (upstream === 'a' ? 50_000 : 100_000);
  const slow = scene.lane(0);
  await flow(scene, 4_900, rateOf);
  expect(slow.end).toBeUndefined();
  await flow(scene, 1_000, rateOf);
  expect(slow.end).toBe('aborted');
  for (const lane of scene.open) lane.bring(size);
  await settle();
  expect(scene.asked).toContain(`b ${slow.position}-${slow.stop}`);
  for (const lane of scene.open) lane.bring(size);
  await settle();
  expect(await download.done).toBeUndefined();
  const told = download.log.lines.filter(({ message }) => message.includes('slow'));
  expect(told.map(({ fields }) => fields['upstream'])).toEqual(['a']);
});

test('a slow connection that is slow to end as well is given up once', async () => {
  const { scene, download } = await start({
    a: { minSpeed: 100_000, script: begins },
    b: { script: begins },
  });
  scene.linger = true;
  await flow(scene, 6_000, () => 1_000);
  for (const end of scene.lingering) end();
  await settle();
  const told = download.log.lines.filter(({ message }) => message.includes('slow'));
  expect(told).toHaveLength(1);
});

test('a connection of an upstream without a least speed may be as slow as it likes', async () => {
  const { scene } = await start({ a: { script: begins }, b: { script: begins } });
  await flow(scene, 20_000, (lane) => (lane.upstream === 'a' ? 1_000 : 0));
  expect(scene.lane(0).end).toBeUndefined();
});

test('when the late one comes first after all, the second request is cancelled', async () => {
  const { scene, download } = await start({ a: {}, b: {} });
  await vi.advanceTimersByTimeAsync(2_100);
  scene.lane(0).begin(size);
  await settle();
  expect([scene.lane(0).end, scene.lane(1).end]).toEqual([undefined, 'aborted']);
  scene.lane(0).bring(size);
  await settle();
  expect(await download.done).toBeUndefined();
});

test('when both come at once one of them goes on, and the blob is whole', async () => {
  const { scene, download } = await start({ a: {}, b: {} });
  await vi.advanceTimersByTimeAsync(2_100);
  scene.linger = true;
  scene.lane(1).begin(size);
  scene.lane(0).begin(size);
  scene.lane(0).bring(300_000);
  scene.lane(1).bring(200_000);
  for (const end of scene.lingering) end();
  scene.linger = false;
  await settle();
  expect(scene.open).toHaveLength(1);
  scene.open[0]?.bring(size);
  await settle();
  expect(await download.done).toBeUndefined();
  expect(scene.file.equals(blob)).toBe(true);
});

test('a first byte is late by what is usual for its upstream', async () => {
  const { scene, download } = await start({ a: {}, b: {} });
  const { health } = scene.upstreams[0]?.client ?? {};
  for (let sample = 0; sample < 20; sample += 1) health?.observeFirstByte(200);
  await vi.advanceTimersByTimeAsync(150);
  expect(download.hedged).toBe(0);
  await vi.advanceTimersByTimeAsync(150);
  expect(download.hedged).toBe(1);
});

test('without leave in the budget no second request is sent', async () => {
  const facts = pullFacts();
  const hedges = new HedgeBudget({ facts });
  hedges.take();
  const { scene, download } = await start({ a: {}, b: {} }, { facts, hedges });
  await vi.advanceTimersByTimeAsync(10_000);
  expect(scene.asked).toEqual(['a 0-']);
  expect(download.hedged).toBe(0);
});

test('with one upstream nobody else is asked, and nothing of the budget is spent', async () => {
  const hedges = new HedgeBudget({ facts: nobody });
  const { scene } = await start({ a: { maxConnections: 4 } }, { hedges });
  await vi.advanceTimersByTimeAsync(10_000);
  expect(scene.asked).toEqual(['a 0-']);
  expect(hedges.take()).toBe(true);
});
