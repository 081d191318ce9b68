import { mkdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { MessageChannel, type MessagePort } from 'node:worker_threads';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { RangeSet } from '../../../src/lib/range-set.ts';
import { type Digest, digestAlgorithm } from '../../../src/oci/digest.ts';
import { serveHash } from '../../../src/store/disk/far-hash.ts';
import { Ingest } from '../../../src/store/disk/ingest.ts';
import { mapOfFill } from '../../../src/store/disk/layout.ts';
import { digestOf, makeBlob, mustDigest, seededBytes } from '../../helpers/image.ts';
import { filesUnder, openFilesUnder } from '../../helpers/leaks.ts';
import { howOften } from '../../helpers/runs.ts';
import { temporaryDirectory } from '../../helpers/start-proxy.ts';

const blob = makeBlob('ingest', 30_000);
const size = blob.bytes.length;
const mebibyte = 1024 * 1024;

type Open = (path: string, digest: Digest, limit: number) => Ingest;

/** The digest that an ingest should come to. */
const due = new WeakMap<Ingest, Digest>();

/** The digest that the bytes have, where it is not the one that is due. */
async function found(ingest: Ingest): Promise<Digest | undefined> {
  const digest = await ingest.digest();
  return digest === due.get(ingest) ? undefined : digest;
}

/** Writes a part of some bytes where it belongs, from a buffer that is reused as the wire's is. */
function write(ingest: Ingest, bytes: Buffer, start: number, end: number): void {
  const buffer = Buffer.from(bytes.subarray(start, end));
  ingest.write(start, buffer);
  buffer.fill(0);
}

const piece = fc.record({
  start: fc.nat(size),
  length: fc.integer({ min: 1, max: 9_000 }),
  /** Whether the piece is of another copy, one whose every byte differs. */
  wrong: fc.boolean(),
  after: fc.constantFrom('nothing' as const, 'turn' as const, 'restart' as const),
});

function openWith(path: string, digest: Digest, limit: number, hasher?: MessagePort): Ingest {
  const ingest = Ingest.open(path, { algorithm: digestAlgorithm(digest), limit, hasher });
  due.set(ingest, digest);
  return ingest;
}

const openHere: Open = (path, digest, limit) => openWith(path, digest, limit);

/** Opens an ingest whose file is hashed by whoever is at the other end of a port. */
const openFar: Open = (path, digest, limit) => {
  const { port1, port2 } = new MessageChannel();
  serveHash(path, digestAlgorithm(digest), port2);
  return openWith(path, digest, limit, port1);
};

describe.each([
  ['here', openHere],
  ['elsewhere', openFar],
])('hashed %s', (_where, open) => {
  test('in whatever order and overlap the bytes come, also over restarts, the first to come stay, and only the right ones are right', async () => {
    const folder = await temporaryDirectory();
    const inverted = Buffer.from(blob.bytes.map((byte) => byte ^ 0xff));
    let runs = 0;
    const seen = { right: 0, wrong: 0, restarted: 0 };
    await fc.assert(
      fc.asyncProperty(fc.array(piece, { maxLength: 10 }), fc.boolean(), async (pieces, allRight) => {
        const path = join(folder, `run-${runs++}`);
        let ingest = open(path, blob.digest, size);
        const arrived = new RangeSet();
        const expected = Buffer.alloc(size);
        const bring = (bytes: Buffer, start: number, end: number) => {
          write(ingest, bytes, start, end);
          for (const [from, to] of arrived.gaps(start, end)) bytes.copy(expected, from, from, to);
          arrived.add(start, end);
          expect(ingest.arrived).toEqual(arrived.intervals);
        };
        for (const { start, length, wrong, after } of pieces) {
          bring(wrong && !allRight ? inverted : blob.bytes, start, Math.min(size, start + length));
          // Lets the hashing of what has closed up run on, between two writes.
          if (after === 'turn') await new Promise(setImmediate);
          if (after !== 'restart') continue;
          ingest.save();
          ingest.close();
          ingest = open(path, blob.digest, size);
          expect(ingest.arrived).toEqual(arrived.intervals);
          seen.restarted += 1;
        }
        bring(blob.bytes, 0, size);
        const isRight = expected.equals(blob.bytes);
        expect(await found(ingest)).toBe(isRight ? undefined : digestOf(expected));
        ingest.close();
        expect((await readFile(path)).equals(expected)).toBe(true);
        seen[isRight ? 'right' : 'wrong'] += 1;
      }),
      { numRuns: howOften(60, 20) },
    );
    expect(openFilesUnder(folder)).toEqual([]);
    for (const [kind, count] of Object.entries(seen)) expect(count, kind).toBeGreaterThan(0);
  });

  test('bytes that are there are never replaced by an overlapping write of others', async () => {
    const path = join(await temporaryDirectory(), 'fill');
    const ingest = open(path, blob.digest, size);
    write(ingest, blob.bytes, 10_000, 20_000);
    ingest.write(5_000, Buffer.alloc(20_000, 0xee));
    ingest.close();
    const file = await readFile(path);
    expect(file.subarray(10_000, 20_000).equals(blob.bytes.subarray(10_000, 20_000))).toBe(true);
    expect(file.subarray(5_000, 10_000).every((byte) => byte === 0xee)).toBe(true);
    expect(file.subarray(20_000).equals(Buffer.alloc(5_000, 0xee))).toBe(true);
  });

  test('what is written while the hashing catches up is hashed once, in its place', async () => {
    const large = makeBlob('catching up', 5 * mebibyte);
    const folder = await temporaryDirectory();
    const ingest = open(join(folder, 'fill'), large.digest, large.bytes.length);
    write(ingest, large.bytes, 2 * mebibyte, 4 * mebibyte);
    // Closes the gap, so that four megabytes are hashed from the file, a piece a turn.
    write(ingest, large.bytes, 0, 2 * mebibyte);
    await new Promise(setImmediate);
    write(ingest, large.bytes, 4 * mebibyte, 5 * mebibyte);
    expect(await found(ingest)).toBeUndefined();
    ingest.close();
  });

  test('throwing the bytes away while the hashing catches up starts anew, and closing meanwhile is harmless', async () => {
    const large = makeBlob('thrown away', 3 * mebibyte);
    const folder = await temporaryDirectory();
    const path = join(folder, 'fill');
    const ingest = open(path, large.digest, large.bytes.length);
    ingest.write(mebibyte, Buffer.alloc(2 * mebibyte));
    ingest.write(0, Buffer.alloc(mebibyte));
    ingest.reset();
    expect(ingest.arrived).toEqual([]);
    expect((await stat(path)).size).toBe(0);
    write(ingest, large.bytes, mebibyte, 3 * mebibyte);
    write(ingest, large.bytes, 0, mebibyte);
    expect(await found(ingest)).toBeUndefined();
    ingest.close();
    const again = open(join(folder, 'again'), large.digest, large.bytes.length);
    write(again, large.bytes, mebibyte, 3 * mebibyte);
    write(again, large.bytes, 0, mebibyte);
    again.close();
    for (let turn = 0; turn < 5; turn += 1) await new Promise(setImmediate);
    expect(openFilesUnder(folder)).toEqual([]);
  });

  test('wrong bytes are found out, wherever they are and whichever run wrote them', async () => {
    const path = join(await temporaryDirectory(), 'fill');
    const damaged = Buffer.from(blob.bytes);
    damaged[100] = (damaged[100] ?? 0) ^ 1;
    await writeFile(path, damaged.subarray(0, 20_000));
    await writeFile(mapOfFill(path), '[[0,20000]]');
    const ingest = open(path, blob.digest, size);
    expect(ingest.arrived).toEqual([[0, 20_000]]);
    write(ingest, blob.bytes, 20_000, size);
    expect(await found(ingest)).toBe(digestOf(damaged));
    ingest.reset();
    expect(ingest.arrived).toEqual([]);
    expect((await stat(path)).size).toBe(0);
    expect(await readFile(mapOfFill(path), 'utf8')).toBe('[]');
    write(ingest, blob.bytes, 0, size);
    expect(await found(ingest)).toBeUndefined();
    ingest.close();
  });

  test.each([
    ['the first', 1, size],
    ['the last', 0, size - 1],
  ])('without %s byte the rest is as wrong as others', async (_which, start, end) => {
    const ingest = open(join(await temporaryDirectory(), 'fill'), blob.digest, size);
    write(ingest, blob.bytes, start, end);
    expect(await found(ingest)).toBe(digestOf(start === 0 ? blob.bytes.subarray(0, end) : Buffer.alloc(0)));
    ingest.close();
  });

  test('a hole is as wrong as other bytes', async () => {
    const holed = Buffer.from(blob.bytes);
    holed[15_000] = 0;
    const ingest = open(join(await temporaryDirectory(), 'fill'), digestOf(holed), size);
    write(ingest, blob.bytes, 0, 15_000);
    write(ingest, blob.bytes, 15_001, size);
    expect(await found(ingest)).toBe(digestOf(holed.subarray(0, 15_000)));
    ingest.close();
  });

  test('a file longer than the blob can be is started anew', async () => {
    const path = join(await temporaryDirectory(), 'fill');
    await writeFile(path, seededBytes('longer', 30_001));
    await writeFile(mapOfFill(path), '[[0,30001]]');
    const ingest = open(path, blob.digest, 30_000);
    expect(ingest.arrived).toEqual([]);
    write(ingest, blob.bytes, 0, size);
    expect(await found(ingest)).toBeUndefined();
    ingest.close();
    expect((await readFile(path)).equals(blob.bytes)).toBe(true);
  });

  test('bytes that a crash left beyond the map are not part of the blob', async () => {
    const path = join(await temporaryDirectory(), 'fill');
    await writeFile(path, seededBytes('unsaved', 40_000));
    const ingest = open(path, blob.digest, 1_000_000);
    write(ingest, blob.bytes, 0, size);
    expect(await found(ingest)).toBeUndefined();
    ingest.close();
    expect((await readFile(path)).equals(blob.bytes)).toBe(true);
  });

  test.each([
    ['no map', undefined],
    ['nothing', ''],
    ['half a map', '[[0,100'],
    ['something else', '{"0":100}'],
    ['a number', '7'],
    ['no list', 'null'],
    ['no intervals', '[1,2,3]'],
    ['more than the blob', '[[0,30001]]'],
    ['less than nothing', '[[-5,10]]'],
    ['parts of bytes', '[[0.5,100.5]]'],
    ['texts', '[["0","100"]]'],
    ['an interval without an end', '[[0]]'],
    ['an interval that ends before it begins', '[[100,0]]'],
  ])('of a damaged map nothing is known: %s', async (_what, map) => {
    const path = join(await temporaryDirectory(), 'fill');
    await writeFile(path, Buffer.alloc(size, 1));
    if (map !== undefined) await writeFile(mapOfFill(path), map);
    const ingest = open(path, blob.digest, size);
    expect(ingest.arrived).toEqual([]);
    write(ingest, blob.bytes, 0, size);
    expect(await found(ingest)).toBeUndefined();
    ingest.close();
  });

  test.each([
    ['shorter than its map says', true],
    ['gone', false],
  ])('of a file that is %s nothing is taken for there that is not', async (_how, left) => {
    const path = join(await temporaryDirectory(), 'fill');
    await writeFile(path, blob.bytes.subarray(0, 10_000));
    await writeFile(mapOfFill(path), '[[0,5000],[8000,20000],[25000,30000]]');
    if (!left) await rm(path);
    const ingest = open(path, blob.digest, size);
    const there = left ? 10_000 : 0;
    for (const [, end] of ingest.arrived) expect(end).toBeLessThanOrEqual(there);
    write(ingest, blob.bytes, 0, size);
    expect(await found(ingest)).toBeUndefined();
    ingest.close();
  });

  test('the map is saved now and then, so that a crash loses little', async () => {
    const large = makeBlob('mapped', 12 * mebibyte);
    const folder = await temporaryDirectory();
    const path = join(folder, 'fill');
    const ingest = open(path, large.digest, large.bytes.length);
    for (let start = 0; start < large.bytes.length; start += mebibyte / 2) {
      write(ingest, large.bytes, start, start + mebibyte / 2);
      // A crash now: another opens what is there.
      const after = open(path, large.digest, large.bytes.length);
      const saved = after.arrived[0]?.[1] ?? 0;
      after.close();
      expect(saved).toBeLessThanOrEqual(start + mebibyte / 2);
      expect(start + mebibyte / 2 - saved).toBeLessThan(4 * mebibyte);
    }
    ingest.close();
    // Whole or not at all: no half map is left beside it.
    expect(filesUnder(folder)).toEqual(['fill', 'fill.map']);
  });

  test('stretches of two copies are compared by their digests', async () => {
    const large = makeBlob('compared', 3 * mebibyte);
    const folder = await temporaryDirectory();
    const damaged = Buffer.from(large.bytes);
    damaged[2_000_000] = (damaged[2_000_000] ?? 0) ^ 1;
    const stretches = [
      [0, 2_000_000],
      [2_000_000, 2_000_001],
      [2_000_001, 3 * mebibyte],
      [0, 3 * mebibyte],
      [7, 7],
    ] as const;
    const digests = await Promise.all(
      [large.bytes, damaged].map(async (bytes, index) => {
        const ingest = open(join(folder, `${index}`), large.digest, bytes.length);
        write(ingest, bytes, 0, bytes.length);
        const found = await ingest.digestsOf(stretches);
        ingest.close();
        return found;
      }),
    );
    const [right = [], wrong = []] = digests;
    expect(right).toEqual(
      stretches.map(([start, end]) => digestOf(large.bytes.subarray(start, end)).slice(7)),
    );
    expect(stretches.map((_each, index) => right[index] === wrong[index])).toEqual([
      true,
      false,
      true,
      false,
      true,
    ]);
  });

  test('sha512 is verified as sha512', async () => {
    const path = join(await temporaryDirectory(), 'fill');
    // The digest of nothing, from FIPS 180-4.
    const empty =
      'cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e';
    const right = open(path, mustDigest(`sha512:${empty}`), 10);
    expect(await found(right)).toBeUndefined();
    right.close();
    const wrong = open(path, mustDigest(`sha512:${'0'.repeat(128)}`), 10);
    expect(await found(wrong)).toBe(`sha512:${empty}`);
    wrong.close();
  });

  test('a path that cannot be opened is an error of the system, and leaks nothing', async () => {
    const folder = await temporaryDirectory();
    await mkdir(join(folder, 'in the way'));
    expect(() => open(join(folder, 'in the way'), blob.digest, 1)).toThrow(
      expect.objectContaining({ code: 'EISDIR' }),
    );
    expect(() => open(join(folder, 'no', 'fill'), blob.digest, 1)).toThrow(
      expect.objectContaining({ code: 'ENOENT' }),
    );
    expect(openFilesUnder(folder)).toEqual([]);
  });
});
