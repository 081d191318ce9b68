import { randomBytes, randomUUID } from 'node:crypto';
import { link, mkdir, open, readFile, rm } from 'node:fs/promises';
import path from 'node:path';

/** The file does not hold a secret of the right form. The message says what to do. */
export class SecretFileError extends Error {
  readonly code = 'SECRET_FILE';
}

/**
 * Reads the secret kept in `file`, made of random bytes at first, readable by this user only.
 * @param length bytes
 * @throws SecretFileError when the file has another length
 */
export async function readOrMakeSecret(file: string, length: number): Promise<Buffer> {
  const found = await readIfThere(file);
  if (found !== undefined) return checked(file, found, length);
  await mkdir(path.dirname(file), { recursive: true });
  const draft = `${file}.${randomUUID()}.tmp`;
  const handle = await open(draft, 'wx', 0o600);
  try {
    await handle.writeFile(randomBytes(length));
    await handle.sync();
  } finally {
    await handle.close();
  }
  try {
    // A link fails where another process has made the secret first; a rename would replace it.
    await link(draft, file);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  } finally {
    await rm(draft, { force: true });
  }
  return checked(file, await readFile(file), length);
}

async function readIfThere(file: string): Promise<Buffer | undefined> {
  try {
    return await readFile(file);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

function checked(file: string, bytes: Buffer, length: number): Buffer {
  if (bytes.length === length) return bytes;
  throw new SecretFileError(
    `${file} has ${bytes.length} bytes instead of ${length}: remove it, and another is made`,
  );
}
