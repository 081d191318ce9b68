import { expect, onTestFinished, test, vi } from 'vitest';
import { neverAborted } from '../../../src/lib/abort.ts';
import { Fill, type FillWork } from '../../../src/pull/fill/fill.ts';
import type { BlobFile } from '../../../src/store/blob-store.ts';
import { makeGate, within } from '../../helpers/gate.ts';
import { makeBlob } from '../../helpers/image.ts';

const size = 6_000_000;
const { digest, bytes } = makeBlob('fill', size);
/** The piece at the end that is not given out before the digest is right. */
const held = 512 * 1024;

/** A fill whose download the test ends, over a file in memory. */
function begin(options: { size?: number; patience?: number; open?: FillWork['open'] } = {}) {
  const ending = Promise.withResolvers<void>();
  const files = { opened: 0, closed: 0 };
  const content = Buffer.from(bytes);
  const open = async (): Promise<BlobFile> => {
    files.opened += 1;
    return {
      size: bytes.length,
      read: async (buffer, length, position) => content.copy(buffer, 0, position, position + length),
      close: async () => {
        files.closed += 1;
      },
    };
  };
  const signals: AbortSignal[] = [];
  const fill = new Fill(
    {
      run: (_self, signal) => {
        signals.push(signal);
        signal.addEventListener('abort', () => ending.reject(signal.reason));
        return ending.promise;
      },
      open: options.open ?? open,
    },
    { digest, size: options.size, patience: options.patience ?? 60_000 },
  );
  fill.start();
  fill.note({ kind: 'opened' });
  fill.arrival.begin(0, 0, size);
  return {
    fill,
    files,
    signals,
    /** The bytes of the file. */
    content,
    /** The one connection has brought everything up to here. */
    bring: (position: number) => fill.arrival.progress.advance(0, position),
    /** The bytes are found right. */
    verify: () => {
      fill.arrival.settle(0);
      fill.note({ kind: 'whole' });
      fill.note({ kind: 'right' });
    },
    /** The bytes are found to be of no use. */
    discard: () => fill.note({ kind: 'discarded' }),
    /** They have been thrown away, and a connection begins anew. */
    refill: () => {
      fill.note({ kind: 'emptied' });
      fill.arrival.begin(0, 0, size);
    },
    succeed: () => ending.resolve(),
    fail: (error: Error) => ending.reject(error),
  };
}

function read(reader: ReturnType<Fill['reader']>, position: number, length = 100, signal = neverAborted) {
  const buffer = Buffer.alloc(length);
  return reader.read(buffer, length, position, signal).then((count) => buffer.subarray(0, count));
}

test('a reader waits for its position, and gets no more than may be read', async () => {
  const { fill, bring } = begin({ size });
  const reader = fill.reader();
  const waiting = read(reader, 50);
  bring(50);
  await new Promise(setImmediate);
  bring(60);
  expect((await within(waiting, 'the bytes')).equals(bytes.subarray(50, 60))).toBe(true);
  await reader.close();
});

test('a reader gets the bytes of every connection, and none of a gap between them', async () => {
  const { fill, bring } = begin({ size });
  const { arrival } = fill;
  arrival.begin(1, 500, size);
  arrival.progress.advance(1, 700);
  bring(100);
  const reader = fill.reader();
  expect((await read(reader, 50, 1_000)).equals(bytes.subarray(50, 100))).toBe(true);
  expect((await read(reader, 600, 1_000)).equals(bytes.subarray(600, 700))).toBe(true);
  const waiting = read(reader, 100, 1_000);
  await new Promise(setImmediate);
  expect(fill.wanted).toEqual([100]);
  bring(500);
  expect((await within(waiting, 'the bytes')).equals(bytes.subarray(100, 700))).toBe(true);
});

test('before the digest is right the last piece is not given out', async () => {
  const { fill, bring, verify } = begin({ size });
  bring(size);
  const reader = fill.reader();
  const position = size - held;
  expect(await read(reader, position - 10)).toHaveLength(10);
  const waiting = read(reader, position);
  await new Promise(setImmediate);
  verify();
  expect(await within(waiting, 'the last piece')).toHaveLength(100);
});

test('where readers wait is told in order, and not beyond their waiting', async () => {
  const { fill, bring } = begin({ size });
  const leaver = new AbortController();
  const [far, near, left] = [300, 200, 250].map((position) =>
    read(fill.reader(), position, 10, position === 250 ? leaver.signal : neverAborted),
  );
  await new Promise(setImmediate);
  expect(fill.wanted).toEqual([200, 250, 300]);
  leaver.abort(new Error('left'));
  await expect(left).rejects.toThrow('left');
  expect(fill.wanted).toEqual([200, 300]);
  bring(250);
  await within(near ?? Promise.reject(), 'the nearer one');
  expect(fill.wanted).toEqual([300]);
  bring(400);
  await within(far ?? Promise.reject(), 'the farther one');
  expect(fill.wanted).toEqual([]);
});

test('when the bytes were wrong who was given some is cut off, and who was given none does not notice', async () => {
  const { fill, bring, content, discard, refill } = begin({ size });
  content.fill(0xee);
  bring(1_000);
  const [given, waiting, late] = [fill.reader(), fill.reader(), fill.reader()];
  await read(given, 0);
  const cut = read(given, 1_000).catch((error: Error) => error);
  const unaware = read(waiting, 2_000);
  await new Promise(setImmediate);
  discard();
  // Who is cut off waits for nothing any more: the next copy does not begin where that was.
  expect(fill.wanted).not.toContain(1_000);
  expect(await within(cut, 'the one who was given some')).toBeInstanceOf(Error);
  await expect(read(given, 100)).rejects.toThrow('wrong');
  bytes.copy(content);
  refill();
  bring(3_000);
  expect((await within(unaware, 'the one who was given none')).equals(bytes.subarray(2_000, 2_100))).toBe(
    true,
  );
  expect((await read(late, 0)).equals(bytes.subarray(0, 100))).toBe(true);
  await expect(read(given, 0), 'not even from the start').rejects.toThrow('wrong');
});

test('bytes that were thrown away just before they are read are not given out: the right ones are', async () => {
  const { fill, bring, content, discard, refill } = begin({ size });
  content.fill(0xee);
  bring(1_000);
  const first = read(fill.reader(), 0);
  discard();
  await new Promise(setImmediate);
  bytes.copy(content);
  refill();
  bring(1_000);
  expect((await within(first, 'the bytes')).equals(bytes.subarray(0, 100))).toBe(true);
});

test('bytes that were read while they were found wrong are not given out: the right ones are', async () => {
  const reading = makeGate();
  const content = Buffer.alloc(size, 0xee);
  const open = async (): Promise<BlobFile> => ({
    size,
    read: async (buffer, length, position) => {
      const count = content.copy(buffer, 0, position, position + length);
      await reading.opened;
      return count;
    },
    close: async () => undefined,
  });
  const { fill, bring, discard, refill } = begin({ size, open });
  bring(1_000);
  const first = read(fill.reader(), 0);
  await new Promise(setImmediate);
  discard();
  bytes.copy(content);
  refill();
  bring(1_000);
  reading.open();
  expect((await within(first, 'the bytes')).equals(bytes.subarray(0, 100))).toBe(true);
});

test('what ends the fill is told to every reader at once, and to those who come later', async () => {
  const { fill, fail, bring } = begin({ size });
  bring(500);
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
  const { fill, signals, bring } = begin({ size });
  const [leaving, staying] = [fill.reader(), fill.reader()];
  const leaver = new AbortController();
  const left = read(leaving, 0, 10, leaver.signal);
  const stays = read(staying, 0, 10);
  const reason = new Error('left');
  leaver.abort(reason);
  await expect(left).rejects.toBe(reason);
  await leaving.close();
  bring(10);
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
  const { fill, files, succeed, bring, verify } = begin({ size });
  const [used, unused] = [fill.reader(), fill.reader()];
  bring(size);
  verify();
  succeed();
  await fill.done;
  await read(used, 0);
  await read(used, 100);
  await Promise.all([used.close(), unused.close()]);
  expect(files).toEqual({ opened: 1, closed: 1 });
});

test('reading beyond the end is an error, not an endless wait', async () => {
  const { fill, succeed, bring, verify } = begin({ size });
  const waiting = read(fill.reader(), size);
  bring(size);
  verify();
  succeed();
  await expect(within(waiting, 'the end')).rejects.toThrow('beyond the end');
});

test('who finds no file learns what the fill comes to', async () => {
  const { fill, bring, fail } = begin({ size, open: async () => undefined });
  bring(10);
  const reading = read(fill.reader(), 0).catch((error: unknown) => error);
  await new Promise(setImmediate);
  const error = new Error('upstream went away');
  fail(error);
  expect(await within(reading, 'the reader')).toBe(error);
});

test('who finds no file of a blob that was stored is told to try again', async () => {
  const { fill, bring, succeed, verify } = begin({ size, open: async () => undefined });
  bring(10);
  const reading = read(fill.reader(), 0).catch((error: unknown) => error);
  verify();
  succeed();
  expect(await within(reading, 'the reader')).toMatchObject({ code: 'UNAVAILABLE' });
});

test('a failure is told before what is left is cleaned up, and nothing more is shown', async () => {
  const { fill, bring, fail } = begin();
  fill.announceSize(size);
  bring(1_000);
  const [waiting, shown] = [fill.reader(), fill.reader()];
  await read(shown, 0);
  const told = [read(waiting, 2_000), read(shown, 10)].map((each) => each.catch((error: unknown) => error));
  const error = new Error('upstream went away');
  fill.note({ kind: 'failed', failure: error });
  await expect(fill.outcome).rejects.toBe(error);
  expect(await within(Promise.all(told), 'the readers')).toEqual([error, error]);
  await expect(read(fill.reader(), 0)).rejects.toBe(error);
  let over = false;
  void fill.done.catch(() => {
    over = true;
  });
  await new Promise(setImmediate);
  expect(over).toBe(false);
  fail(new Error('what came of the cleaning up'));
  await expect(fill.done).rejects.toBe(error);
});

test('a failure is told to who waits for the size', async () => {
  const { fill } = begin();
  const waiting = fill.size(neverAborted);
  fill.note({ kind: 'failed', failure: new Error('gone') });
  await expect(within(waiting, 'the size')).rejects.toThrow('gone');
});

test('bytes that were read while the fill failed are not given out', async () => {
  const reading = makeGate();
  const open = async (): Promise<BlobFile> => ({
    size,
    read: async (buffer, length, position) => {
      await reading.opened;
      return bytes.copy(buffer, 0, position, position + length);
    },
    close: async () => undefined,
  });
  const { fill, bring } = begin({ size, open });
  bring(1_000);
  const first = read(fill.reader(), 0);
  await new Promise(setImmediate);
  fill.note({ kind: 'failed', failure: new Error('wrong bytes') });
  reading.open();
  await expect(within(first, 'the reader')).rejects.toThrow('wrong bytes');
});

test('work that throws no error still fails the fill with one', async () => {
  const fill = new Fill(
    { run: () => Promise.reject('text'), open: async () => undefined },
    { digest, size: 1, patience: 1 },
  );
  fill.start();
  await expect(fill.done).rejects.toMatchObject({ message: 'text' });
});

test('a download that nobody waits for is given up after a while, and not before', async () => {
  vi.useFakeTimers();
  onTestFinished(() => {
    vi.useRealTimers();
  });
  const { fill, signals } = begin({ size, patience: 100 });
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
