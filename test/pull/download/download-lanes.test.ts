import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { rangeless } from '../../../src/upstream/wire/accept-body.ts';
import { refusals } from '../scripted-upstream.ts';
import { begins, blob, flow, megabyte, settle, size, start } from './download-flow.ts';
import { DownloadScene, down, startDownload, type TestLane } from './download-scene.ts';

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

/** The connections open at one time, as `upstream start-stop`. */
const lanesOf = (scene: DownloadScene) =>
  scene.open.map(({ upstream, fetch, stop }) => `${upstream} ${fetch.start}-${stop}`);

test('a line that throttles each connection is used by several, and the blob is whole', async () => {
  const { scene, download } = await start({ a: { maxConnections: 4, script: begins } });
  expect(scene.asked).toEqual(['a 0-']);
  await flow(scene, 1_000, () => megabyte);
  expect(scene.open).toHaveLength(4);
  await flow(scene, 11_000, () => megabyte);
  expect(await download.done).toBeUndefined();
  expect(scene.file.equals(blob)).toBe(true);
  // Nothing was asked for twice: each connection brought its own part.
  const served = scene.fill.deliveries.reduce((sum, { start: from, end }) => sum + end - from, 0);
  expect(served).toBe(size);
});

test('a line that is full with one connection tries a few more once, and replaces none of them', async () => {
  const { scene, download } = await start({ a: { maxConnections: 8, script: begins } });
  const rateOf = () => (4 * megabyte) / Math.max(1, scene.open.length);
  await flow(scene, 1_500, rateOf);
  const tried = scene.asked.length;
  expect(tried).toBeGreaterThan(1);
  await flow(scene, 9_000, rateOf);
  expect(await download.done).toBeUndefined();
  expect(scene.asked).toHaveLength(tried);
});

test('two upstreams that throttle are used at once, the quicker by as many connections as it may', async () => {
  const { scene } = await start({
    a: { maxConnections: 2, script: begins },
    b: { maxConnections: 2, script: begins },
  });
  await flow(scene, 2_000, () => megabyte);
  expect(scene.open.map(({ upstream }) => upstream).toSorted()).toEqual(['a', 'a', 'b', 'b']);
});

test('what connections bring while the next one is planned is fetched by nobody else', async () => {
  const { scene, download } = await start({ a: { maxConnections: 8, script: begins } });
  const { arrival } = scene.fill;
  const arrived = arrival.arrived.bind(arrival);
  // The worker writes on whatever the main thread is doing.
  vi.spyOn(arrival, 'arrived').mockImplementation(() => {
    const before = arrived();
    for (const lane of scene.open) lane.bring(1_000);
    return before;
  });
  await flow(scene, 12_000, () => megabyte);
  expect(await download.done).toBeUndefined();
  expect(scene.asked.length).toBeGreaterThan(4);
  const brought = scene.fill.deliveries.reduce((sum, { start: from, end }) => sum + end - from, 0);
  expect(brought).toBe(size);
});

test('while its connections flow and none can be added, a look at them ranks nobody', async () => {
  const { scene } = await start({
    a: { maxConnections: 2, minSpeed: 1_000, script: begins },
    b: { maxConnections: 2, minSpeed: 1_000, script: begins },
  });
  await flow(scene, 2_000, () => megabyte);
  expect(scene.open).toHaveLength(4);
  const judged = scene.upstreams.map(({ client }) => vi.spyOn(client.health, 'exclusionFor'));
  // One reader is ahead of them all.
  void scene.fill
    .reader()
    .read(Buffer.alloc(1), 1, 30 * megabyte, AbortSignal.timeout(60_000))
    .catch(() => 0);
  await flow(scene, 1_000, () => megabyte);
  expect(judged.map(({ mock }) => mock.calls.length)).toEqual([0, 0]);
});

test('what a connection lacks when it breaks is continued at the missing byte by another upstream', async () => {
  const { scene, download } = await start({ a: { script: begins }, b: { script: begins } });
  const [first] = scene.open;
  first?.bring(10_000);
  first?.cut();
  await settle();
  expect(scene.asked.slice(1)).toEqual(['b 10000-']);
  scene.lane(1).bring(size);
  await settle();
  expect(await download.done).toBeUndefined();
  expect(scene.fill.deliveries.map(({ upstream, start: from, end }) => [upstream, from, end])).toEqual([
    ['a', 0, 10_000],
    ['b', 10_000, size],
  ]);
});

test('one of several connections that breaks is replaced, and the others go on', async () => {
  const { scene, download } = await start({ a: { maxConnections: 4, script: begins } });
  await flow(scene, 1_000, () => megabyte);
  const [first, ...others] = scene.open;
  const [at, stop] = [first?.position, first?.stop];
  first?.cut();
  await settle();
  expect(others.map(({ end }) => end)).toEqual([undefined, undefined, undefined]);
  expect(scene.asked.at(-1)).toBe(`a ${at}-${stop === size ? '' : stop}`);
  await flow(scene, 12_000, () => megabyte);
  expect(await download.done).toBeUndefined();
  expect(scene.file.equals(blob)).toBe(true);
});

test('an answer that ends before what it was asked for is continued where it ended', async () => {
  const { scene, download } = await start({ a: { maxConnections: 1, script: begins } });
  scene.lane(0).bring(megabyte);
  scene.lane(0).finish();
  await settle();
  expect(scene.asked).toEqual(['a 0-', `a ${megabyte}-`]);
  scene.lane(1).bring(size);
  await settle();
  expect(await download.done).toBeUndefined();
});

test('an upstream that ends each answer early without bringing anything is given up', async () => {
  const script = (lane: TestLane) => {
    lane.begin(size);
    lane.finish();
  };
  const { scene, download } = await start({ a: { script } });
  await vi.advanceTimersByTimeAsync(1_000);
  expect(await download.done).toMatchObject({ code: 'UNAVAILABLE' });
  expect(scene.asked).toHaveLength(4);
});

test('a size that is learned from the answer lets readers begin and connections join', async () => {
  const scene = new DownloadScene(blob, { a: { maxConnections: 4, script: begins } }, { sizeKnown: false });
  const download = startDownload(scene);
  await settle();
  expect(scene.fill.arrival.size).toBe(size);
  expect(scene.lane(0).stop).toBe(size);
  await flow(scene, 1_000, () => megabyte);
  expect(scene.open).toHaveLength(4);
  await flow(scene, 11_000, () => megabyte);
  expect(await download.done).toBeUndefined();
  expect(scene.file.equals(blob)).toBe(true);
});

test('while the size is not known there is one connection, and what its answer ends with is the blob', async () => {
  const scene = new DownloadScene(blob, { a: { maxConnections: 4 } }, { sizeKnown: false });
  const download = startDownload(scene);
  await settle();
  scene.lane(0).begin(undefined);
  await flow(scene, 5_000, () => megabyte);
  expect(scene.asked).toEqual(['a 0-']);
  scene.lane(0).bring(size);
  scene.lane(0).finish();
  await settle();
  expect(await download.done).toBeUndefined();
  expect(scene.fill.arrival.size).toBe(size);
});

test('what an earlier run left in the middle is not fetched again', async () => {
  const scene = new DownloadScene(blob, { a: { script: begins } });
  scene.leave(0, blob.subarray(0, megabyte));
  scene.leave(5 * megabyte, blob.subarray(5 * megabyte, 6 * megabyte));
  const download = startDownload(scene);
  await settle();
  scene.lane(0).bring(size);
  await settle();
  scene.lane(1).bring(size);
  await settle();
  expect(await download.done).toBeUndefined();
  expect(scene.asked).toEqual([`a ${megabyte}-${5 * megabyte}`, `a ${6 * megabyte}-`]);
});

test('a reader far ahead gets a connection of its own, that begins where it waits', async () => {
  const { scene, download } = await start({ a: { maxConnections: 8, script: begins } });
  await flow(scene, 500, () => 20 * megabyte);
  expect(lanesOf(scene)).toEqual([`a 0-${size}`]);
  const at = 39 * megabyte;
  const buffer = Buffer.alloc(100);
  const reading = scene.fill.reader().read(buffer, 100, at, new AbortController().signal);
  await flow(scene, 100, () => 20 * megabyte);
  expect(lanesOf(scene)).toEqual([`a 0-${at}`]);
  expect(scene.asked).toEqual(['a 0-', `a ${at}-`]);
  expect(await reading).toBe(100);
  expect(buffer.equals(blob.subarray(at, at + 100))).toBe(true);
  await flow(scene, 2_000, () => 20 * megabyte);
  expect(await download.done).toBeUndefined();
  expect(scene.file.equals(blob)).toBe(true);
});

test('a reader of what is held back until the end anyway costs no connection of its own', async () => {
  const scene = new DownloadScene(blob, { a: { maxConnections: 4 } });
  const reading = scene.fill
    .reader()
    .read(Buffer.alloc(100), 100, size - 1_000, new AbortController().signal);
  await settle();
  const download = startDownload(scene);
  await settle();
  expect(scene.asked).toEqual(['a 0-']);
  scene.lane(0).begin(size);
  scene.lane(0).bring(size);
  await settle();
  expect(await download.done).toBeUndefined();
  expect(await reading).toBe(100);
});

test('a first byte that is late is asked of another upstream, and whoever comes second is cancelled', async () => {
  const { scene, download } = await start({ a: {}, b: {} });
  await vi.advanceTimersByTimeAsync(1_900);
  expect(scene.asked).toEqual(['a 0-']);
  await vi.advanceTimersByTimeAsync(200);
  expect(scene.asked).toEqual(['a 0-', 'b 0-']);
  expect(download.hedged).toBe(1);
  scene.lane(1).begin(size);
  await settle();
  expect([scene.lane(0).end, scene.lane(1).end]).toEqual(['aborted', undefined]);
  scene.lane(1).bring(size);
  await settle();
  expect(await download.done).toBeUndefined();
  expect([...scene.fill.upstreams]).toEqual(['b']);
});

test('an upstream that sends whole blobs only keeps one connection, which gets its bytes back', async () => {
  const script = (lane: TestLane) => {
    if (lane.fetch.start > 0 && !lane.fetch.maySkip) lane.refuse(down('a', rangeless));
    else lane.begin(size);
  };
  const { scene, download } = await start({ a: { maxConnections: 4, script } });
  await flow(scene, 1_000, () => megabyte);
  const tried = scene.asked.length;
  expect(tried).toBeGreaterThan(1);
  expect(lanesOf(scene)).toEqual([`a 0-${size}`]);
  await flow(scene, 5_000, () => megabyte);
  scene.lane(0).bring(size);
  await settle();
  expect(await download.done).toBeUndefined();
  expect(scene.asked).toHaveLength(tried);
});

test('an upstream that sends whole blobs only is continued by reading over what is here', async () => {
  const { scene } = await start({ a: {} });
  scene.lane(0).begin(size);
  scene.lane(0).bring(megabyte);
  scene.lane(0).cut();
  await settle();
  expect(scene.lane(1).fetch).toMatchObject({ start: megabyte, maySkip: true });
});

test('beside another connection nobody reads over what is here', async () => {
  const { scene } = await start({ a: { maxConnections: 4, script: begins } });
  await flow(scene, 1_000, () => megabyte);
  expect(scene.lanes.slice(1).map(({ fetch }) => fetch.maySkip)).toEqual([false, false, false]);
});

test('an upstream that limits the rate is not asked again by this download', async () => {
  const { scene, download } = await start({ a: {}, b: { script: begins } });
  scene.lane(0).refuse({ ...refusals.limited, upstream: 'a' });
  await settle();
  expect(scene.asked).toEqual(['a 0-', 'b 0-']);
  scene.lane(1).bring(megabyte);
  scene.lane(1).cut();
  await settle();
  expect(scene.asked.at(-1)).toBe(`b ${megabyte}-`);
  scene.lane(2).bring(size);
  await settle();
  expect(await download.done).toBeUndefined();
});

test('an abort ends all connections at once, and is what the download ends with', async () => {
  const controller = new AbortController();
  const { scene, download } = await start(
    { a: { maxConnections: 4, script: begins } },
    { signal: controller.signal },
  );
  await flow(scene, 1_000, () => megabyte);
  expect(scene.open).toHaveLength(4);
  const reason = new Error('stopping');
  controller.abort(reason);
  expect(await download.done).toBe(reason);
  expect(scene.open).toEqual([]);
  expect(scene.calls).toEqual([]);
});

test('it does not end before its last connection has, so that nothing is written behind it', async () => {
  const controller = new AbortController();
  const { scene, download } = await start(
    { a: { maxConnections: 4, script: begins } },
    { signal: controller.signal },
  );
  await flow(scene, 1_000, () => megabyte);
  scene.linger = true;
  let over = false;
  void download.done.then(() => {
    over = true;
  });
  controller.abort(new Error('stopping'));
  await vi.advanceTimersByTimeAsync(1_000);
  expect(over).toBe(false);
  for (const end of scene.lingering) end();
  await settle();
  expect(over).toBe(true);
});

test('a disk that fails under one connection ends all, with that failure', async () => {
  const { scene, download } = await start({ a: { maxConnections: 4, script: begins } });
  await flow(scene, 1_000, () => megabyte);
  const error = Object.assign(new Error('no space left'), { code: 'ENOSPC' });
  scene.open[2]?.fail(error);
  await vi.advanceTimersByTimeAsync(100);
  expect(await download.done).toBe(error);
  expect(scene.open).toEqual([]);
});
