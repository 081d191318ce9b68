import { Readable } from 'node:stream';
import { text as textOf } from 'node:stream/consumers';
import fc from 'fast-check';
import tarStream from 'tar-stream';
import { describe, expect, test } from 'vitest';
import { TarReader } from '../../../src/transfer/bundle/tar-read.ts';
import { tarEnd, tarHead, tarMemberSize, tarPadding } from '../../../src/transfer/bundle/tar-write.ts';
import { piecesOf } from './bundle-scene.ts';

type File = { readonly name: string; readonly bytes: Buffer };

const names = fc
  .stringMatching(/^[a-z]{1,20}(?:\/[a-z0-9.]{1,60}){0,4}[a-z]$/)
  .filter((name) => name.length > 0);
const files = fc.uniqueArray(
  fc.record({ name: names, bytes: fc.uint8Array({ maxLength: 2_000 }).map((bytes) => Buffer.from(bytes)) }),
  { selector: ({ name }) => name, maxLength: 8 },
);

function archiveOf(members: readonly File[]): Buffer {
  const blocks = members.flatMap(({ name, bytes }) => {
    return [tarHead({ name, size: bytes.length }), bytes, tarPadding(bytes.length)];
  });
  return Buffer.concat([...blocks, tarEnd]);
}

async function readAll(archive: Buffer, pieceSize = 700) {
  const reader = new TarReader(piecesOf(archive, pieceSize));
  const members: File[] = [];
  const links: Record<string, string> = {};
  for (let entry = await reader.next(); entry !== undefined; entry = await reader.next()) {
    if (entry.kind === 'file') members.push({ name: entry.name, bytes: await reader.readWhole(1_000_000) });
    if (entry.target !== undefined) links[entry.name] = entry.target;
  }
  return { members, links, deviation: reader.deviation };
}

describe('a tar archive', () => {
  test('is read as it was written, whatever pieces it comes in, and is then what we would write', async () => {
    await fc.assert(
      fc.asyncProperty(files, fc.integer({ min: 1, max: 3_000 }), async (members, pieceSize) => {
        const archive = archiveOf(members);
        expect(await readAll(archive, pieceSize)).toEqual({ members, links: {}, deviation: undefined });
        const planned = members.map(({ name, bytes }) => tarMemberSize({ name, size: bytes.length }));
        expect(planned.reduce((sum, size) => sum + size, tarEnd.length)).toBe(archive.length);
      }),
      { numRuns: 60 },
    );
  });

  test('that we write is understood by another reader', async () => {
    const members = [
      { name: 'short', bytes: Buffer.from('content') },
      { name: `blobs/sha512/${'a'.repeat(128)}`, bytes: Buffer.alloc(513, 'x') },
      { name: 'last', bytes: Buffer.alloc(0) },
    ];
    const seen: Record<string, number> = {};
    const extract = Readable.from([archiveOf(members)]).pipe(tarStream.extract());
    for await (const entry of extract) seen[entry.header.name] = (await textOf(entry)).length;
    expect(seen).toEqual({ short: 7, [`blobs/sha512/${'a'.repeat(128)}`]: 513, last: 0 });
  });

  test('of another writer is understood: long names, links, folders', async () => {
    const pack = tarStream.pack();
    const long = `${'folder/'.repeat(30)}${'long'.repeat(30)}`;
    pack.entry({ name: 'folder', type: 'directory' });
    pack.entry({ name: long }, 'content');
    pack.entry({ name: 'a/layer.tar', type: 'symlink', linkname: '../b/layer.tar' });
    pack.entry({ name: 'ünïcode', uid: 1000, mtime: new Date() }, 'more');
    pack.finalize();
    const archive = Buffer.concat(await Readable.from(pack).toArray());
    const { members, links, deviation } = await readAll(archive);
    expect(members.map(({ name, bytes }) => [name, bytes.toString()])).toEqual([
      [long, 'content'],
      ['ünïcode', 'more'],
    ]);
    expect(links).toEqual({ 'a/layer.tar': '../b/layer.tar' });
    expect(deviation).toBeDefined();
  });

  test('with a size beyond eight gibibytes says so to the byte', async () => {
    const head = tarHead({ name: 'large', size: 9 * 1024 ** 3 });
    const reader = new TarReader(piecesOf(head, 512));
    expect((await reader.next())?.size).toBe(9 * 1024 ** 3);
  });

  test('cut anywhere is truncated', async () => {
    const archive = archiveOf([
      { name: 'one', bytes: Buffer.alloc(600, '1') },
      { name: 'two', bytes: Buffer.alloc(10, '2') },
    ]);
    for (let length = 0; length < archive.length; length += 97) {
      await expect(readAll(archive.subarray(0, length))).rejects.toMatchObject({ code: 'BUNDLE_TRUNCATED' });
    }
    await expect(readAll(archive.subarray(0, -1))).rejects.toMatchObject({ code: 'BUNDLE_TRUNCATED' });
  });

  test('with one bit changed outside its contents is refused, deviates or names another member', async () => {
    const long = 'a'.repeat(140);
    const archive = archiveOf([
      { name: 'one', bytes: Buffer.alloc(10, '1') },
      { name: long, bytes: Buffer.alloc(5, '2') },
    ]);
    const contents = [512, 522, archive.indexOf('22222'), archive.indexOf('22222') + 5];
    await fc.assert(
      fc.asyncProperty(fc.nat(archive.length - 1), fc.nat(7), async (at, bit) => {
        const [a = 0, b = 0, c = 0, d = 0] = contents;
        fc.pre(!((at >= a && at < b) || (at >= c && at < d)));
        const changed = Buffer.from(archive);
        changed[at] = (changed[at] ?? 0) ^ (1 << bit);
        const outcome = await readAll(changed).then(
          ({ members, deviation }) => deviation ?? (members[1]?.name === long ? undefined : 'renamed'),
          ({ code }: { code: string }) => code,
        );
        expect(outcome).toBeDefined();
      }),
      { numRuns: 300 },
    );
  });

  test('of hostile numbers is refused without taking memory for them', async () => {
    const head = tarHead({ name: 'pax', size: 0 });
    for (const [at, text] of [
      [124, '77777777777\0'],
      [156, 'x'],
    ] as const) {
      head.write(text, at, 'latin1');
    }
    const sum = head.reduce((total, byte, at) => total + (at >= 148 && at < 156 ? 32 : byte), 0);
    head.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
    await expect(readAll(head)).rejects.toMatchObject({ code: 'BUNDLE_CORRUPT' });
    await expect(readAll(Buffer.from('this is some text file'.repeat(100)))).rejects.toMatchObject({
      code: 'BUNDLE_UNSUPPORTED',
    });
  });
});
