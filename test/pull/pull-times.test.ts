import { setImmediate as immediately } from 'node:timers/promises';
import { expect, onTestFinished, test, vi } from 'vitest';
import { PullTimes } from '../../src/pull/pull-times.ts';
import type { Journal, PullRecord } from '../../src/store/journal.ts';
import { captureLog } from '../helpers/capture-log.ts';
import { makeGate } from '../helpers/gate.ts';
import { makeBlob } from '../helpers/image.ts';
import { mustKey, mustTag } from '../helpers/stored.ts';

const app = mustKey('ghcr.io', 'org/app');
const { digest } = makeBlob('x', 1);

function note(at: number, tag?: string): PullRecord {
  return { kind: 'manifest', ...app, digest, tag: tag === undefined ? undefined : mustTag(tag), at };
}

function begin(recordPulls?: Journal['recordPulls']) {
  vi.useFakeTimers();
  const written: (readonly PullRecord[])[] = [];
  const logs = captureLog();
  const journal = { recordPulls: recordPulls ?? (async (pulls) => void written.push(pulls)) };
  const times = new PullTimes({ journal, log: logs.log }, { every: 5_000 });
  onTestFinished(async () => {
    await times.close();
    vi.useRealTimers();
  });
  return { times, written, logs };
}

test('pulls are written in batches, the newest note of each', async () => {
  const { times, written } = begin();
  times.note(note(1));
  times.note(note(2));
  times.note(note(3, 'v1'));
  await vi.advanceTimersByTimeAsync(4_999);
  expect(written).toEqual([]);
  await vi.advanceTimersByTimeAsync(1);
  expect(written).toEqual([[note(2), note(3, 'v1')]]);
});

test('nothing noted is nothing written', async () => {
  const { times, written } = begin();
  times.note(note(1));
  await vi.advanceTimersByTimeAsync(50_000);
  await times.flush();
  expect(written).toHaveLength(1);
});

test('closing writes what is left, and ends the batches', async () => {
  const { times, written } = begin();
  times.note(note(1));
  await times.close();
  expect(written).toEqual([[note(1)]]);
  expect(vi.getTimerCount()).toBe(0);
});

test('one write waits for another, so that an older pull does not come to count, and so does closing', async () => {
  const order: string[] = [];
  const gates = [makeGate(), makeGate()];
  const { times } = begin(async (pulls) => {
    const gate = gates[order.length];
    order.push(`begun ${pulls[0]?.at}`);
    await gate?.opened;
    order.push(`ended ${pulls[0]?.at}`);
  });
  times.note(note(1));
  await vi.advanceTimersByTimeAsync(5_000);
  times.note(note(2));
  const closed = times.close().then(() => order.push('closed'));
  await vi.advanceTimersByTimeAsync(5_000);
  expect(order).toEqual(['begun 1']);
  for (const gate of gates) gate.open();
  await closed;
  expect(order).toEqual(['begun 1', 'ended 1', 'begun 2', 'ended 2', 'closed']);
});

/** An index whose first write fails. */
function failingOnce() {
  const failures = [new Error('disk full')];
  const written: (readonly PullRecord[])[] = [];
  const record = async (pulls: readonly PullRecord[]) => {
    const failure = failures.pop();
    if (failure !== undefined) throw failure;
    written.push(pulls);
  };
  return { record, written };
}

test('an index that fails is logged, and the batches go on with what it did not take', async () => {
  const { record, written } = failingOnce();
  const { times, logs } = begin(record);
  times.note(note(1));
  times.note(note(2, 'v1'));
  await vi.advanceTimersByTimeAsync(5_000);
  expect(logs.text()).toContain('disk full');
  times.note(note(3));
  await vi.advanceTimersByTimeAsync(5_000);
  expect(written).toEqual([[note(3), note(2, 'v1')]]);
});

test('of what an index does not take the newest notes are kept, a bounded number', async () => {
  const { record, written } = failingOnce();
  const { times } = begin(record);
  for (let at = 0; at < 10_003; at += 1) times.note(note(at, `v${at}`));
  await vi.advanceTimersByTimeAsync(5_000);
  await times.close();
  expect(written.flat()).toHaveLength(10_000);
  expect(written[0]?.at(0)).toEqual(note(3, 'v3'));
});

test('many notes are written a hundred at a time, and others get their turn between', async () => {
  const { times, written } = begin();
  for (let at = 0; at < 250; at += 1) times.note(note(at, `v${at}`));
  const flushed = times.flush();
  await immediately();
  expect(written.length).toBeLessThan(3);
  await flushed;
  expect(written.map((pulls) => pulls.length)).toEqual([100, 100, 50]);
});

test('what was written before an index fails is not written again, what came after is', async () => {
  const written: (readonly PullRecord[])[] = [];
  const failures = [undefined, new Error('disk full')];
  const { times } = begin(async (pulls) => {
    const failure = failures.shift();
    if (failure !== undefined) throw failure;
    written.push(pulls);
  });
  for (let at = 0; at < 150; at += 1) times.note(note(at, `v${at}`));
  await expect(times.flush()).rejects.toThrow('disk full');
  times.note(note(150, 'v150'));
  await times.flush();
  expect(written.flatMap((pulls) => pulls.map(({ at }) => at))).toEqual([...Array(151).keys()]);
});

test('a blob is noted once, whichever repository it was pulled from', async () => {
  const { times, written } = begin();
  times.note({ kind: 'blob', digest, at: 1 });
  times.note(note(2));
  times.note({ kind: 'blob', digest, at: 3 });
  await times.flush();
  expect(written).toEqual([[{ kind: 'blob', digest, at: 3 }, note(2)]]);
});

test('closing says what could not be written', async () => {
  const { record } = failingOnce();
  const { times } = begin(record);
  times.note(note(1));
  await expect(times.close()).rejects.toMatchObject({
    message: 'pull times not written: disk full',
    cause: { message: 'disk full' },
  });
});
