import { EventEmitter } from 'node:events';
import type { Worker } from 'node:worker_threads';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { RareLog } from '../../../src/lib/rare-log.ts';
import { FillThread } from '../../../src/pull/threads/fill-thread.ts';
import { captureLog } from '../../helpers/capture-log.ts';

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

/** A worker of which the test says what it answers, and when and why it ends. */
class TestWorker extends EventEmitter {
  readonly posted: unknown[] = [];

  postMessage(message: unknown): void {
    this.posted.push(message);
  }

  /** It throws what nobody catches, and ends. */
  crash(message: string): void {
    this.emit('error', new Error(message));
    this.emit('exit', 1);
  }

  async terminate(): Promise<number> {
    this.emit('exit', 1);
    return 1;
  }
}

/** A thread, and the workers that it started. */
function begin(start?: (turn: number) => void) {
  const workers: TestWorker[] = [];
  const { log, lines } = captureLog();
  let starts = 0;
  const rare = new RareLog({ log, clock: { now: () => performance.now() } }, { period: 60_000 });
  const thread = new FillThread({
    log: rare,
    start: () => {
      const turn = starts;
      starts += 1;
      start?.(turn);
      const worker = new TestWorker();
      workers.push(worker);
      return worker as unknown as Worker;
    },
  });
  const last = () => workers.at(-1) as TestWorker;
  return { thread, workers, last, lines, starts: () => starts };
}

const address = { fill: 1, call: 2 };

test('a worker that has ended is replaced after a pause, which doubles while they end soon, up to half a minute', async () => {
  const { workers, last } = begin();
  const pauses: number[] = [];
  for (let turn = 0; turn < 10; turn += 1) {
    const before = workers.length;
    const ended = performance.now();
    last().crash('no memory');
    while (workers.length === before) await vi.advanceTimersByTimeAsync(50);
    pauses.push(performance.now() - ended);
  }
  expect(pauses).toEqual([250, 500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000]);
});

test('each cause is written to the log once a minute, and how often it was left out', async () => {
  const { last, lines } = begin();
  for (let turn = 0; turn < 4; turn += 1) {
    last().crash('no memory');
    await vi.advanceTimersByTimeAsync(2_000);
  }
  expect(lines).toEqual([
    { level: 'warn', message: 'fill worker ended', fields: expect.objectContaining({ cause: 'no memory' }) },
  ]);
  last().emit('exit', 9);
  expect(lines.at(-1)?.fields).toMatchObject({ cause: 'it exited with code 9' });
  await vi.advanceTimersByTimeAsync(60_000);
  last().crash('no memory');
  expect(lines).toHaveLength(3);
  expect(lines.at(-1)?.fields).toMatchObject({ cause: 'no memory', omitted: 3 });
});

test('it fails once several in a row have ended soon, until one has lasted or a fill has run to its end', async () => {
  const { thread, last } = begin();
  const crashes = async (count: number) => {
    for (let turn = 0; turn < count; turn += 1) {
      last().crash('no memory');
      await vi.advanceTimersByTimeAsync(30_000);
    }
  };
  await crashes(2);
  expect(thread.failing).toBe(false);
  await crashes(1);
  expect(thread.failing).toBe(true);
  await vi.advanceTimersByTimeAsync(60_000);
  expect(thread.failing).toBe(false);
  // The one that lasted counts as no worker that ended soon.
  await crashes(1);
  expect(thread.failing).toBe(false);
  await crashes(2);
  expect(thread.failing).toBe(true);
  thread.proven();
  expect(thread.failing).toBe(false);
});

test('a worker that cannot be started is tried again like one that ends at once', async () => {
  const { thread, lines, starts } = begin((turn) => {
    if (turn < 4) throw Object.assign(new Error('too many threads'), { code: 'ERR_WORKER_INIT_FAILED' });
  });
  expect(thread.worker).toBeUndefined();
  await vi.advanceTimersByTimeAsync(249);
  expect(starts()).toBe(1);
  await vi.advanceTimersByTimeAsync(1_501);
  expect([starts(), thread.failing, thread.worker]).toEqual([4, true, undefined]);
  expect(lines.map(({ fields }) => fields)).toEqual([
    { cause: 'too many threads', code: 'ERR_WORKER_INIT_FAILED', restartIn: 250 },
  ]);
  await vi.advanceTimersByTimeAsync(2_000);
  expect(thread.worker).toBeDefined();
});

test('what ran on a worker that has ended is told why, and is not taken up by the next', async () => {
  const { thread, last } = begin();
  thread.fills.add(1);
  thread.hashes.add(7);
  const pending = thread.call(address, { kind: 'verify' }, undefined, []);
  const told = expect(pending).rejects.toMatchObject({
    code: 'FILL_WORKER',
    message: expect.stringContaining('no memory'),
  });
  const changed = thread.changed;
  last().crash('no memory');
  await told;
  await changed;
  expect([thread.load, thread.worker]).toEqual([0, undefined]);
  await vi.advanceTimersByTimeAsync(250);
  const later = thread.call({ fill: 1, call: 3 }, { kind: 'verify' }, undefined, []);
  await expect(later).rejects.toMatchObject({ code: 'FILL_WORKER' });
  expect(last().posted).toEqual([]);
});

test('answers find who asked, failures of the disk with the code of the system', async () => {
  const { thread, last } = begin();
  thread.fills.add(1);
  const right = thread.call(address, { kind: 'verify' }, undefined, []);
  const failed = thread.call({ fill: 1, call: 3 }, { kind: 'reset' }, undefined, []);
  expect(last().posted).toMatchObject([
    { kind: 'verify', fill: 1, call: 2 },
    { kind: 'reset', fill: 1, call: 3 },
  ]);
  last().emit('message', { fill: 1, call: 3, kind: 'failed', code: 'ENOSPC', message: 'no space' });
  last().emit('message', { fill: 1, call: 2, kind: 'verified', found: undefined });
  expect(await right).toMatchObject({ kind: 'verified' });
  await expect(failed).rejects.toMatchObject({ code: 'ENOSPC', message: 'no space' });
});

test('once closed nothing is started, and what runs is told', async () => {
  const running = begin();
  running.thread.fills.add(1);
  const pending = running.thread.call(address, { kind: 'verify' }, undefined, []);
  const told = expect(pending).rejects.toMatchObject({ code: 'FILL_WORKER' });
  await running.thread.close();
  await told;
  const paused = begin();
  paused.last().crash('no memory');
  await paused.thread.close();
  await vi.advanceTimersByTimeAsync(120_000);
  expect([running.starts(), paused.starts(), vi.getTimerCount()]).toEqual([1, 1, 0]);
  expect([running.thread.worker, paused.thread.failing]).toEqual([undefined, false]);
  expect(running.lines).toEqual([]);
});
