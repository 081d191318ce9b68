import { readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { IntegrityError } from '../../src/oci/errors.ts';
import { Ingest } from '../../src/store/ingest.ts';
import { digestOf, makeBlob, mustDigest, seededBytes } from '../helpers/image.ts';
import { openFilesUnder } from '../helpers/leaks.ts';
import { temporaryDirectory } from '../helpers/start-proxy.ts';

const blob = makeBlob('ingest', 30_000);

/** The error that a verification ends in. */
function found(ingest: Ingest): unknown {
  try {
    ingest.verify();
    return undefined;
  } catch (error) {
    return error;
  }
}

test('however the bytes come, in pieces and over restarts, what is verified is what was written', async () => {
  const piece = fc.record({ length: fc.integer({ min: 1, max: 9_000 }), restart: fc.boolean() });
  const folder = await temporaryDirectory();
  let turn = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(piece, { maxLength: 6 }), async (pieces) => {
      const path = join(folder, `run-${turn++}`);
      let ingest = await Ingest.open(path, blob.digest, blob.bytes.length);
      const append = (length: number) => {
        // The buffer is reused, as the wire's is.
        const buffer = Buffer.from(blob.bytes.subarray(ingest.written, ingest.written + length));
        ingest.append(buffer);
        buffer.fill(0);
      };
      for (const { length, restart } of pieces) {
        append(length);
        if (!restart) continue;
        const before = ingest.written;
        ingest.close();
        ingest = await Ingest.open(path, blob.digest, blob.bytes.length);
        expect(ingest.written).toBe(before);
      }
      append(blob.bytes.length);
      expect(found(ingest)).toBeUndefined();
      ingest.close();
      expect((await readFile(path)).equals(blob.bytes)).toBe(true);
    }),
    { numRuns: 30 },
  );
  expect(openFilesUnder(folder)).toEqual([]);
});

test('wrong bytes are found out, wherever they are and whichever run wrote them', async () => {
  const path = join(await temporaryDirectory(), 'fill');
  const damaged = Buffer.from(blob.bytes);
  damaged[100] = (damaged[100] ?? 0) ^ 1;
  await writeFile(path, damaged.subarray(0, 20_000));
  const ingest = await Ingest.open(path, blob.digest, blob.bytes.length);
  ingest.append(blob.bytes.subarray(20_000));
  const error = found(ingest);
  expect(error).toBeInstanceOf(IntegrityError);
  expect(error).toMatchObject({ expected: blob.digest, found: digestOf(damaged) });
  ingest.reset();
  expect(ingest.written).toBe(0);
  expect((await stat(path)).size).toBe(0);
  ingest.append(blob.bytes);
  expect(found(ingest)).toBeUndefined();
  ingest.close();
});

test('too few bytes are as wrong as others', async () => {
  const ingest = await Ingest.open(join(await temporaryDirectory(), 'fill'), blob.digest, 30_000);
  ingest.append(blob.bytes.subarray(1));
  expect(found(ingest)).toBeInstanceOf(IntegrityError);
  ingest.close();
});

test('a file longer than the blob can be is started anew', async () => {
  const path = join(await temporaryDirectory(), 'fill');
  await writeFile(path, seededBytes('longer', 30_001));
  const ingest = await Ingest.open(path, blob.digest, 30_000);
  expect(ingest.written).toBe(0);
  ingest.append(blob.bytes);
  expect(found(ingest)).toBeUndefined();
  ingest.close();
  expect((await stat(path)).size).toBe(30_000);
});

test('sha512 is verified as sha512', async () => {
  const path = join(await temporaryDirectory(), 'fill');
  // The digest of nothing, from FIPS 180-4.
  const empty =
    'cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e';
  const right = await Ingest.open(path, mustDigest(`sha512:${empty}`), 10);
  expect(found(right)).toBeUndefined();
  right.close();
  const wrong = await Ingest.open(path, mustDigest(`sha512:${'0'.repeat(128)}`), 10);
  expect(found(wrong)).toMatchObject({ found: `sha512:${empty}` });
  wrong.close();
});

test('a path that cannot be opened is an error of the system, and leaks nothing', async () => {
  const folder = await temporaryDirectory();
  await expect(Ingest.open(folder, blob.digest, 1)).rejects.toMatchObject({ code: 'EISDIR' });
  await expect(Ingest.open(join(folder, 'no', 'fill'), blob.digest, 1)).rejects.toMatchObject({
    code: 'ENOENT',
  });
  expect(openFilesUnder(folder)).toEqual([]);
});
