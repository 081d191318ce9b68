import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { ignoreMissing, openFile } from '../../../src/store/disk/open-file.ts';
import { openFilesUnder } from '../../helpers/leaks.ts';
import { temporaryDirectory } from '../../helpers/start-proxy.ts';

test('a file that is not there is undefined, any other failure is thrown', async () => {
  const folder = await temporaryDirectory();
  const file = join(folder, 'file');
  await writeFile(file, 'abc');
  expect(await openFile(join(folder, 'none'))).toBeUndefined();
  await expect(openFile(join(file, 'below'))).rejects.toMatchObject({ code: 'ENOTDIR' });
});

test('a file is read at any position, by several at once', async () => {
  const folder = await temporaryDirectory();
  const path = join(folder, 'file');
  await writeFile(path, 'abcdef');
  const file = await openFile(path);
  expect(file?.size).toBe(6);
  const read = async (position: number) => {
    const buffer = Buffer.alloc(2);
    const count = await file?.read(buffer, 2, position);
    return buffer.toString('latin1', 0, count);
  };
  expect(await Promise.all([read(4), read(0), read(5), read(6), read(2)])).toEqual([
    'ef',
    'ab',
    'f',
    '',
    'cd',
  ]);
  await file?.close();
  expect(openFilesUnder(folder)).toEqual([]);
});

test('only the absence of a file is ignored', () => {
  const failure = (code: string) => Object.assign(new Error(code), { code });
  expect(ignoreMissing(failure('ENOENT'))).toBeUndefined();
  for (const code of ['EACCES', 'EIO', 'ENOTDIR', 'EMFILE']) {
    expect(() => ignoreMissing(failure(code))).toThrow(code);
  }
});
