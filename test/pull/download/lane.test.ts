import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { neverAborted } from '../../../src/lib/abort.ts';
import { type LaneOrder, LaneRun } from '../../../src/pull/download/lane.ts';
import { seededBytes } from '../../helpers/image.ts';
import { DownloadScene, down, type TestLane } from './download-scene.ts';

const blob = seededBytes('lane', 1_000_000);

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

/** One lane of a download that nobody steers. */
async function start(order: Partial<LaneOrder> = {}, signal = neverAborted) {
  const scene = new DownloadScene(blob, { a: {} });
  const { slot, fill, digest } = scene;
  const client = scene.upstreams[0]?.client;
  if (client === undefined) throw new Error('no upstream');
  const begun: (number | undefined)[] = [];
  const from = order.start ?? 0;
  fill.arrival.begin(order.slot ?? 0, from, order.end ?? blob.length);
  const run = new LaneRun(
    { slot, progress: fill.arrival.progress, now: () => performance.now() },
    {
      slot: 0,
      upstream: client,
      repository: 'org/app',
      digest,
      start: from,
      end: undefined,
      maySkip: true,
      expectedRate: 900,
      budgets: [],
      throttled: false,
      ...order,
    },
    (_lane, total) => begun.push(total),
    signal,
  );
  await vi.advanceTimersByTimeAsync(0);
  const [lane] = scene.lanes;
  if (lane === undefined) throw new Error('nothing was asked');
  return { run, lane, begun, health: client.health, fill };
}

/** The lane brings bytes at this rate for so long, and is measured each 50 ms. */
async function flow(run: LaneRun, lane: TestLane, ms: number, rate: number, floor = 0): Promise<void> {
  for (let time = 0; time < ms; time += 50) {
    lane.bring(rate * 0.05);
    await vi.advanceTimersByTimeAsync(50);
    run.measure(performance.now(), floor);
  }
}

test('it asks for its stretch, and ends where that ends', async () => {
  const { run, lane, begun } = await start({ start: 1_000, end: 5_000 });
  expect(lane.asked).toBe('a 1000-5000');
  lane.begin(blob.length);
  lane.bring(10_000);
  expect(await run.ended).toEqual({ position: 5_000, refusal: undefined, complete: true });
  expect(begun).toEqual([blob.length]);
});

test('when it is cut short meanwhile, it ends there', async () => {
  const { run, lane, fill } = await start();
  lane.begin(blob.length);
  lane.bring(1_000);
  fill.arrival.progress.cut(0, 3_000);
  expect(run.stop).toBe(3_000);
  lane.bring(100_000);
  expect(await run.ended).toEqual({ position: 3_000, refusal: undefined, complete: true });
});

test('when its connection breaks it says how far it came, and why', async () => {
  const { run, lane } = await start();
  lane.begin(undefined);
  lane.bring(1_234);
  lane.cut();
  expect(await run.ended).toMatchObject({
    position: 1_234,
    refusal: { kind: 'unavailable', upstream: 'a', cause: { message: 'it was cut' } },
    complete: false,
  });
});

test('what its upstream refuses is told as it is', async () => {
  const { run, lane, begun } = await start();
  const refusal = down('a');
  lane.refuse(refusal);
  expect(await run.ended).toEqual({ position: 0, refusal, complete: false });
  expect(begun).toEqual([]);
});

test('ending it is no failure, aborting the download is, and a broken disk is as well', async () => {
  const cancelled = await start();
  cancelled.lane.begin(undefined);
  cancelled.lane.bring(77);
  cancelled.run.cancel();
  expect(await cancelled.run.ended).toEqual({ position: 77, refusal: undefined, complete: false });
  const controller = new AbortController();
  const aborted = await start({}, controller.signal);
  controller.abort(new Error('stopping'));
  await expect(aborted.run.ended).rejects.toThrow('stopping');
  const broken = await start();
  broken.lane.fail(new Error('disk'));
  await expect(broken.run.ended).rejects.toThrow('disk');
});

test('until it is measured its rate is what was expected of it; then what it brings lately', async () => {
  const { run, lane } = await start();
  expect(run.rate).toBe(900);
  // The time to the first byte is not its rate.
  await vi.advanceTimersByTimeAsync(3_000);
  run.measure(performance.now(), 0);
  expect(run.rate).toBe(900);
  lane.begin(undefined);
  await flow(run, lane, 200, 3_000);
  expect(run.rate).toBe(900);
  await flow(run, lane, 50, 3_000);
  expect(run.rate).toBeCloseTo((900 + 2 * 3_000) / 3, 0);
  await flow(run, lane, 5_000, 3_000);
  expect(run.rate).toBeCloseTo(3_000, 0);
  await flow(run, lane, 5_000, 0);
  expect(run.rate).toBeLessThan(1);
});

test('how long it is slow counts from where it became so, and from nought when it has recovered', async () => {
  const { run, lane } = await start();
  const slowFor = () => run.slowFor(performance.now());
  expect(slowFor()).toBe(0);
  await vi.advanceTimersByTimeAsync(10_000);
  run.measure(performance.now(), 1_000);
  expect(slowFor(), 'before its first byte').toBe(0);
  lane.begin(undefined);
  await flow(run, lane, 1_000, 2_000, 1_000);
  expect(slowFor()).toBe(0);
  await flow(run, lane, 1_000, 500, 1_000);
  expect(slowFor()).toBe(1_000);
  await flow(run, lane, 250, 2_000, 1_000);
  expect(slowFor()).toBe(0);
});

test('its upstream’s health hears when the first byte came, and how quick the rest was', async () => {
  const { run, lane, health } = await start();
  await vi.advanceTimersByTimeAsync(300);
  lane.begin(undefined);
  expect(health.firstByteMs).toBe(300);
  await flow(run, lane, 1_000, 500_000);
  lane.bring(500_000);
  await run.ended;
  expect(health.bytesPerSecond).toBeCloseTo(1_000_000, -3);
});
