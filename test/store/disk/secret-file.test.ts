import { readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { expect, test } from 'vitest';
import { readOrMakeSecret, SecretFileError } from '../../../src/store/disk/secret-file.ts';
import { temporaryDirectory } from '../../helpers/start-proxy.ts';

async function newFile(): Promise<string> {
  return join(await temporaryDirectory(), 'new', 'token.key');
}

test('a secret is made with its folder, random, and for this user only', async () => {
  const [one, other] = [await newFile(), await newFile()];
  const secret = await readOrMakeSecret(one, 32);
  expect(secret).toHaveLength(32);
  expect((await stat(one)).mode & 0o777).toBe(0o600);
  expect(await readFile(one)).toEqual(secret);
  expect(await readOrMakeSecret(other, 32)).not.toEqual(secret);
});

test('a secret that is there is read, and left as it is', async () => {
  const file = await newFile();
  const made = await readOrMakeSecret(file, 32);
  expect(await readOrMakeSecret(file, 32)).toEqual(made);
  expect(await readdir(dirname(file))).toEqual(['token.key']);
});

test('all who make it at once get the same one, and leave nothing else behind', async () => {
  const file = await newFile();
  const made = await Promise.all(Array.from({ length: 8 }, () => readOrMakeSecret(file, 32)));
  expect(new Set(made.map((secret) => secret.toString('hex'))).size).toBe(1);
  expect(await readFile(file)).toEqual(made[0]);
  expect(await readdir(dirname(file))).toEqual(['token.key']);
});

test('a file of another length is refused, with what to do, and kept', async () => {
  const file = join(await temporaryDirectory(), 'token.key');
  await writeFile(file, 'half');
  const refused = readOrMakeSecret(file, 32);
  await expect(refused).rejects.toBeInstanceOf(SecretFileError);
  await expect(refused).rejects.toMatchObject({
    code: 'SECRET_FILE',
    message: expect.stringContaining(file),
  });
  await expect(refused).rejects.toThrow(/4 bytes instead of 32: remove it/);
  expect(await readFile(file, 'utf8')).toBe('half');
});

test('a folder in place of the file is told as such', async () => {
  const folder = await temporaryDirectory();
  await expect(readOrMakeSecret(folder, 32)).rejects.toMatchObject({ code: 'EISDIR' });
});
