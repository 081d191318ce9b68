import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { MessageChannel, type MessagePort, Worker } from 'node:worker_threads';
import { expect, test } from 'vitest';
import { serveHash } from '../../../src/store/disk/far-hash.ts';
import { Ingest } from '../../../src/store/disk/ingest.ts';
import { within } from '../../helpers/gate.ts';
import { digestOf, makeBlob } from '../../helpers/image.ts';
import { openFilesUnder } from '../../helpers/leaks.ts';
import { temporaryDirectory } from '../../helpers/start-proxy.ts';

const mebibyte = 1024 * 1024;
const blob = makeBlob('far', 3 * mebibyte);
const size = blob.bytes.length;

/** An ingest of the blob, and the port at whose other end its file is to be hashed. */
async function begin() {
  const folder = await temporaryDirectory();
  const path = join(folder, 'fill');
  const { port1, port2 } = new MessageChannel();
  return {
    folder,
    path,
    port: port2,
    ingest: Ingest.open(path, { algorithm: 'sha256', limit: size, hasher: port1 }),
  };
}

/** Writes the blob as it comes from a line, and lets the event loop turn after each piece. */
async function bring(ingest: Ingest, start: number, end: number, bytes = blob.bytes): Promise<void> {
  for (let at = start; at < end; at += mebibyte / 4) {
    ingest.write(at, bytes.subarray(at, Math.min(end, at + mebibyte / 4)));
    await new Promise(setImmediate);
  }
}

/** Lets what was posted and closed come through. */
async function settle(): Promise<void> {
  for (let turn = 0; turn < 20; turn += 1) await new Promise(setImmediate);
}

/** A hasher in a thread of its own. */
function startHasher(path: string, port: MessagePort): Worker {
  const module = new URL('../../../src/store/disk/far-hash.ts', import.meta.url).href;
  const code = `
    const { workerData } = require('node:worker_threads');
    import(${JSON.stringify(module)}).then(({ serveHash }) => {
      serveHash(workerData.path, 'sha256', workerData.port);
    });`;
  return new Worker(code, { eval: true, workerData: { path, port }, transferList: [port] });
}

test('a file is hashed by a thread of its own while it grows, which ends with the file', async () => {
  const { folder, path, port, ingest } = await begin();
  const ended = once(startHasher(path, port), 'exit');
  await bring(ingest, mebibyte, size);
  await bring(ingest, 0, mebibyte);
  expect(await within(ingest.digest(), 'the digest')).toBe(blob.digest);
  ingest.close();
  await within(ended, 'the thread to have nothing left to do');
  expect(openFilesUnder(folder)).toEqual([]);
});

test('bytes are not judged by what this thread wrote but by what the other reads', async () => {
  const { path, port, ingest } = await begin();
  serveHash(path, 'sha256', port);
  for (let at = 0; at < size; at += mebibyte) ingest.write(at, blob.bytes.subarray(at, at + mebibyte));
  const damaged = Buffer.from(blob.bytes);
  damaged.fill(0, size - 10);
  // Before the hasher has had a turn in which to read.
  writeFileSync(path, damaged);
  expect(await ingest.digest()).toBe(digestOf(damaged));
  ingest.close();
});

test.each(['before it begins', 'midway', 'when it is asked'])(
  'a hasher that is lost %s is replaced',
  async (when) => {
    const { folder, path, port, ingest } = await begin();
    serveHash(path, 'sha256', port);
    if (when === 'before it begins') port.close();
    await bring(ingest, 0, 2 * mebibyte);
    if (when === 'midway') port.close();
    await bring(ingest, 2 * mebibyte, size);
    const digest = ingest.digest();
    if (when === 'when it is asked') port.close();
    expect(await within(digest, 'the digest')).toBe(blob.digest);
    ingest.close();
    await settle();
    expect(openFilesUnder(folder)).toEqual([]);
  },
);

test('a thread that ends without a word is replaced, and what it had open is closed', async () => {
  const { folder, path, port, ingest } = await begin();
  const worker = startHasher(path, port);
  await once(worker, 'online');
  await bring(ingest, 0, 2 * mebibyte);
  await worker.terminate();
  await bring(ingest, 2 * mebibyte, size);
  expect(await within(ingest.digest(), 'the digest')).toBe(blob.digest);
  ingest.close();
  expect(openFilesUnder(folder)).toEqual([]);
});

test('a replaced hasher starts anew like any other, and finds wrong bytes', async () => {
  const { path, port, ingest } = await begin();
  serveHash(path, 'sha256', port);
  const damaged = Buffer.from(blob.bytes);
  damaged[5] = (damaged[5] ?? 0) ^ 1;
  await bring(ingest, 0, mebibyte, damaged);
  port.close();
  await bring(ingest, mebibyte, size);
  const copy = Buffer.concat([damaged.subarray(0, mebibyte), blob.bytes.subarray(mebibyte)]);
  expect(await within(ingest.digest(), 'the digest')).toBe(digestOf(copy));
  ingest.reset();
  await bring(ingest, 0, size);
  expect(await within(ingest.digest(), 'the digest')).toBe(blob.digest);
  ingest.close();
});

test('a hasher that cannot open the file is replaced', async () => {
  const { folder, path, port, ingest } = await begin();
  await rm(path);
  serveHash(path, 'sha256', port);
  await bring(ingest, 0, size);
  expect(await within(ingest.digest(), 'the digest')).toBe(blob.digest);
  ingest.close();
  await settle();
  expect(openFilesUnder(folder)).toEqual([]);
});

test.each([0, 1, 3])('bytes thrown away %s turns after they came are not hashed', async (turns) => {
  const { path, port, ingest } = await begin();
  serveHash(path, 'sha256', port);
  for (let round = 0; round < 3; round += 1) {
    ingest.write(0, Buffer.alloc(2 * mebibyte, round));
    for (let turn = 0; turn < turns; turn += 1) await new Promise(setImmediate);
    ingest.reset();
  }
  await bring(ingest, 0, size);
  expect(await within(ingest.digest(), 'the digest')).toBe(blob.digest);
  ingest.close();
});

test('whoever waits for the digest of a file that is closed is told, and nothing stays open', async () => {
  const { folder, path, port, ingest } = await begin();
  serveHash(path, 'sha256', port);
  ingest.write(0, blob.bytes);
  const digest = ingest.digest();
  ingest.close();
  await expect(within(digest, 'the failure')).rejects.toThrow('closed');
  await settle();
  expect(openFilesUnder(folder)).toEqual([]);
});

test('an ingest that cannot be opened lets its hasher go', async () => {
  const { port1, port2 } = new MessageChannel();
  const path = join(await temporaryDirectory(), 'no', 'fill');
  const closed = once(port2, 'close');
  expect(() => Ingest.open(path, { algorithm: 'sha256', limit: size, hasher: port1 })).toThrow(
    expect.objectContaining({ code: 'ENOENT' }),
  );
  await within(closed, 'the port to be closed');
});
