import { createHash } from 'node:crypto';
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, expect, onTestFinished, test, vi } from 'vitest';
import type { DigestAlgorithm } from '../../../src/oci/digest.ts';
import { DigestThread } from '../../../src/store/disk/digest-thread.ts';
import { within } from '../../helpers/gate.ts';
import { seededBytes } from '../../helpers/image.ts';
import { filesUnder, openFilesUnder } from '../../helpers/leaks.ts';
import { temporaryDirectory } from '../../helpers/start-proxy.ts';

const bufferSize = 512 * 1024;

const hashes = vi.hoisted(() => ({ made: 0 }));

// In this thread alone: the digest thread runs the real module.
vi.mock('node:crypto', async (original) => {
  const real = await original<typeof import('node:crypto')>();
  const counted: typeof real.createHash = (...args) => {
    hashes.made += 1;
    return real.createHash(...args);
  };
  return { ...real, createHash: counted };
});

let thread: DigestThread;

beforeEach(() => {
  thread = new DigestThread();
});

afterEach(() => thread.close());

function digestOf(bytes: Uint8Array, algorithm: DigestAlgorithm): string {
  return `${algorithm}:${createHash(algorithm).update(bytes).digest('hex')}`;
}

/** A script that stands in for the thread's own. */
function scripted(code: string): DigestThread {
  const script = new URL(`data:text/javascript,${encodeURIComponent(code)}`);
  const made = new DigestThread({ script });
  onTestFinished(() => made.close());
  return made;
}

test('however bytes are cut up, the digest is theirs, and the file holds them', async () => {
  const folder = await temporaryDirectory();
  const bytes = seededBytes('digested', 2 * bufferSize + 1_000);
  const size = fc.oneof(
    fc.integer({ min: 0, max: 1_000 }),
    fc.constantFrom(bufferSize - 1, bufferSize, bufferSize + 1, 2 * bufferSize),
  );
  let runs = 0;
  await fc.assert(
    fc.asyncProperty(
      fc.array(size, { maxLength: 4 }),
      fc.constantFrom('sha256' as const, 'sha512' as const),
      fc.boolean(),
      async (sizes, algorithm, kept) => {
        if (kept) runs += 1;
        const path = kept ? join(folder, `${runs}`) : undefined;
        const stream = thread.begin(algorithm, path);
        let end = 0;
        for (const length of sizes) {
          // Theirs again once they were taken: what becomes of them then is not hashed.
          const piece = Buffer.from(bytes.subarray(end, end + length));
          await stream.write(piece);
          piece.fill(0);
          end = Math.min(bytes.length, end + length);
        }
        expect(await stream.end()).toBe(digestOf(bytes.subarray(0, end), algorithm));
        await stream.drop();
        if (path !== undefined) expect((await readFile(path)).equals(bytes.subarray(0, end))).toBe(true);
      },
    ),
    { numRuns: 40 },
  );
  expect(runs).toBeGreaterThan(0);
  // No map beside any of them, and none is open.
  expect(filesUnder(folder)).toHaveLength(runs);
  expect(openFilesUnder(folder)).toEqual([]);
});

test('bytes that are read into the room itself are digested alike', async () => {
  const bytes = seededBytes('room', 3 * bufferSize + 5);
  const stream = thread.begin('sha256');
  for (let position = 0; position < bytes.length; ) {
    const room = await stream.room();
    const copied = bytes.copy(room, 0, position, position + 300_000);
    stream.filled(copied);
    position += copied;
  }
  expect(await stream.end()).toBe(digestOf(bytes, 'sha256'));
});

test('several streams go on side by side', async () => {
  const all = ['a', 'b', 'c'].map((seed) => ({
    bytes: seededBytes(seed, bufferSize),
    stream: thread.begin('sha256'),
  }));
  for (let at = 0; at < bufferSize; at += bufferSize / 4) {
    for (const { bytes, stream } of all) await stream.write(bytes.subarray(at, at + bufferSize / 4));
  }
  for (const { bytes, stream } of all) expect(await stream.end()).toBe(digestOf(bytes, 'sha256'));
});

test('nothing is hashed in the thread that hands the bytes over', async () => {
  const bytes = seededBytes('elsewhere', bufferSize + 1);
  const due = digestOf(bytes, 'sha256');
  hashes.made = 0;
  expect(await thread.digestOf(bytes, 'sha256')).toBe(due);
  expect(hashes.made).toBe(0);
});

test('no more than two buffers are on their way: the next waits until one is back', async () => {
  const held = scripted(`
    import { parentPort } from 'node:worker_threads';
    const taken = [];
    parentPort.on('message', (command) => {
      if (command.kind === 'bytes') taken.push(command);
      if (command.kind !== 'begin') return;
      // Whoever begins another stream lets one buffer of the first go.
      const { id, buffer } = taken.shift() ?? {};
      if (id !== undefined) parentPort.postMessage({ id, kind: 'taken', buffer }, [buffer]);
    });`);
  const stream = held.begin('sha256');
  for (const _ of [1, 2]) await stream.write(Buffer.alloc(bufferSize));
  let written = false;
  const third = stream.write(Buffer.alloc(1)).then(() => {
    written = true;
  });
  for (let turn = 0; turn < 20; turn += 1) await new Promise(setImmediate);
  expect(written).toBe(false);
  held.begin('sha256');
  await within(third, 'room for more');
});

test('a file that cannot be written fails its stream with the system’s code, whoever asks first', async () => {
  const folder = await temporaryDirectory();
  await mkdir(join(folder, 'in the way'));
  const other = thread.begin('sha256');
  const inTheWay = thread.begin('sha256', join(folder, 'in the way'));
  await expect(inTheWay.end()).rejects.toMatchObject({ code: 'EISDIR' });
  await inTheWay.drop();
  const nowhere = thread.begin('sha256', join(folder, 'no', 'file'));
  const writing = async () => {
    for (let buffers = 0; buffers < 100; buffers += 1) await nowhere.write(Buffer.alloc(bufferSize));
  };
  await expect(within(writing(), 'the failure')).rejects.toMatchObject({ code: 'ENOENT' });
  await expect(nowhere.end()).rejects.toMatchObject({ code: 'ENOENT' });
  await nowhere.drop();
  await other.write(Buffer.from('abc'));
  expect(await other.end()).toBe(digestOf(Buffer.from('abc'), 'sha256'));
});

test('a stream that is dropped lets its file go, and has no digest', async () => {
  const folder = await temporaryDirectory();
  const stream = thread.begin('sha256', join(folder, 'dropped'));
  await stream.write(Buffer.alloc(bufferSize + 1));
  await stream.drop();
  expect(openFilesUnder(folder)).toEqual([]);
  await expect(stream.end()).rejects.toMatchObject({ code: 'DIGEST_THREAD' });
  await stream.drop();
});

test('a thread that ends takes its streams with it, and the next stream has another thread', async () => {
  const mortal = scripted(`
    import { parentPort } from 'node:worker_threads';
    parentPort.on('message', ({ kind }) => {
      if (kind === 'end') throw new Error('out of luck');
    });`);
  const [asked, waiting] = [mortal.begin('sha256'), mortal.begin('sha256')];
  for (const _ of [1, 2]) await waiting.write(Buffer.alloc(bufferSize));
  const third = waiting.write(Buffer.alloc(1));
  const failure = expect(third).rejects.toMatchObject({ code: 'DIGEST_THREAD' });
  await expect(asked.end()).rejects.toMatchObject({
    code: 'DIGEST_THREAD',
    cause: { message: 'out of luck' },
  });
  await failure;
  await waiting.drop();
  const again = mortal.begin('sha256');
  await expect(within(again.end(), 'the failure')).rejects.toMatchObject({
    cause: { message: 'out of luck' },
  });
});

test('closing fails what has not ended, and what begins later', async () => {
  const stream = thread.begin('sha256');
  await stream.write(Buffer.from('abc'));
  const settled = expect(stream.end()).rejects.toMatchObject({ code: 'DIGEST_THREAD' });
  await thread.close();
  await settled;
  expect(() => thread.begin('sha256')).toThrow(expect.objectContaining({ code: 'DIGEST_THREAD' }));
  await thread.close();
});

test('a thread with nothing to do ends after a while, and another starts when there is', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  onTestFinished(() => void vi.useRealTimers());
  const counting = scripted(`
    import { parentPort } from 'node:worker_threads';
    let ended = 0;
    parentPort.on('message', ({ id, kind }) => {
      if (kind === 'end') parentPort.postMessage({ id, kind: 'ended', digest: 'stream ' + ++ended });
    });`);
  const next = async () => {
    const stream = counting.begin('sha256');
    return stream.end();
  };
  expect([await next(), await next()]).toEqual(['stream 1', 'stream 2']);
  await vi.advanceTimersByTimeAsync(29_999);
  expect(await next()).toBe('stream 3');
  const kept = counting.begin('sha256');
  await vi.advanceTimersByTimeAsync(60_000);
  expect(await kept.end()).toBe('stream 4');
  await vi.advanceTimersByTimeAsync(30_000);
  expect(await next()).toBe('stream 1');
});
