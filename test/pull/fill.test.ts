import { expect, onTestFinished, test, vi } from 'vitest';
import { neverAborted } from '../../src/lib/abort.ts';
import { Fill, type FillWork } from '../../src/pull/fill.ts';
import type { BlobFile } from '../../src/store/blob-store.ts';
import { within } from '../helpers/gate.ts';
import { makeBlob } from '../helpers/image.ts';

const { digest, bytes } = makeBlob('fill', 1_000);

/** A fill whose download the test ends, over a file in memory. */
function begin(options: { size?: number; patience?: number; open?: FillWork['open'] } = {}) {
  const ending = Promise.withResolvers<void>();
  const files = { opened: 0, closed: 0 };
  const open = async (): Promise<BlobFile> => {
    files.opened += 1;
    return {
      size: bytes.length,
      read: async (buffer, length, position) => bytes.copy(buffer, 0, position, position + length),
      close: async () => {
        files.closed += 1;
      },
    };
  };
  const signals: AbortSignal[] = [];
  const fill = new Fill(
    digest,
    options.size,
    {
      run: (_self, signal) => {
        signals.push(signal);
        signal.addEventListener('abort', () => ending.reject(signal.reason));
        return ending.promise;
      },
      open: options.open ?? open,
    },
    { patience: options.patience ?? 60_000 },
  );
  return {
    fill,
    files,
    signals,
    succeed: () => ending.resolve(),
    fail: (error: Error) => ending.reject(error),
  };
}

function read(reader: ReturnType<Fill['reader']>, position: number, length = 100, signal = neverAborted) {
  const buffer = Buffer.alloc(length);
  return reader.read(buffer, length, position, signal).then((count) => buffer.subarray(0, count));
}

test('a reader waits for its position, and gets no more than may be read', async () => {
  const { fill } = begin({ size: 1_000 });
  const reader = fill.reader();
  const waiting = read(reader, 50);
  fill.progress.publish(50);
  await new Promise(setImmediate);
  fill.progress.publish(60);
  expect((await within(waiting, 'the bytes')).equals(bytes.subarray(50, 60))).toBe(true);
  await reader.close();
});

test('what ends the fill is told to every reader at once, and to those who come later', async () => {
  const { fill, fail } = begin({ size: 1_000 });
  fill.progress.publish(500);
  const readers = [fill.reader(), fill.reader(), fill.reader()];
  const waiting = Promise.allSettled(readers.map((reader) => read(reader, 500)));
  const error = new Error('upstream went away');
  fail(error);
  for (const result of await within(waiting, 'the readers')) {
    expect(result).toEqual({ status: 'rejected', reason: error });
  }
  await expect(read(fill.reader(), 0)).rejects.toBe(error);
  await expect(fill.done).rejects.toBe(error);
});

test('a reader that leaves is told so, and the others go on', async () => {
  const { fill, signals } = begin({ size: 1_000 });
  const [leaving, staying] = [fill.reader(), fill.reader()];
  const leaver = new AbortController();
  const left = read(leaving, 0, 10, leaver.signal);
  const stays = read(staying, 0, 10);
  const reason = new Error('left');
  leaver.abort(reason);
  await expect(left).rejects.toBe(reason);
  await leaving.close();
  fill.progress.publish(10);
  expect((await within(stays, 'the bytes')).equals(bytes.subarray(0, 10))).toBe(true);
  expect(signals[0]?.aborted).toBe(false);
});

test('the size is known at once, when it is learned, or never', async () => {
  expect(await begin({ size: 7 }).fill.size(neverAborted)).toBe(7);
  const late = begin();
  const asked = late.fill.size(neverAborted);
  late.fill.announceSize(8);
  late.fill.announceSize(9);
  expect([await asked, await late.fill.size(neverAborted)]).toEqual([8, 8]);
  const failed = begin();
  const waiting = failed.fill.size(neverAborted);
  failed.fail(new Error('gone'));
  await expect(waiting).rejects.toThrow('gone');
  const leaver = AbortSignal.abort(new Error('left'));
  await expect(begin().fill.size(leaver)).rejects.toThrow('left');
});

test('the file is opened once a reader, when there is something to read, and closed once', async () => {
  const { fill, files, succeed } = begin({ size: 1_000 });
  const [used, unused] = [fill.reader(), fill.reader()];
  fill.progress.publish(1_000);
  succeed();
  await fill.done;
  await read(used, 0);
  await read(used, 100);
  await Promise.all([used.close(), unused.close()]);
  expect(files).toEqual({ opened: 1, closed: 1 });
});

test('reading beyond the end is an error, not an endless wait', async () => {
  const { fill, succeed } = begin({ size: 1_000 });
  const waiting = read(fill.reader(), 1_000);
  fill.progress.publish(1_000);
  succeed();
  await expect(within(waiting, 'the end')).rejects.toThrow('beyond the end');
});

test('a file that is gone is an error', async () => {
  const { fill } = begin({ size: 1_000, open: async () => undefined });
  fill.progress.publish(10);
  await expect(read(fill.reader(), 0)).rejects.toThrow();
});

test('work that throws no error still fails the fill with one', async () => {
  const fill = new Fill(
    digest,
    1,
    { run: () => Promise.reject('text'), open: async () => undefined },
    { patience: 1 },
  );
  await expect(fill.done).rejects.toMatchObject({ message: 'text' });
});

test('a download that nobody waits for is given up after a while, and not before', async () => {
  vi.useFakeTimers();
  onTestFinished(() => {
    vi.useRealTimers();
  });
  const { fill, signals } = begin({ size: 1_000, patience: 100 });
  const reader = fill.reader();
  await vi.advanceTimersByTimeAsync(1_000);
  expect(signals[0]?.aborted).toBe(false);
  await reader.close();
  await vi.advanceTimersByTimeAsync(99);
  const late = fill.reader();
  await vi.advanceTimersByTimeAsync(1_000);
  expect(signals[0]?.aborted).toBe(false);
  await late.close();
  await vi.advanceTimersByTimeAsync(100);
  await expect(fill.done).rejects.toMatchObject({ code: 'TIMEOUT' });
});
