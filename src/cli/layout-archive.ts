import { lstat, readdir } from 'node:fs/promises';
import path from 'node:path';
import { fileContent } from '../lib/read-bytes.ts';
import { BundleError } from '../transfer/bundle/bundle-error.ts';
import { tarEnd, tarHead, tarPadding } from '../transfer/bundle/tar-write.ts';

/** What an image layout has beside its blobs, in the order in which an import wants to see it. */
const files = [
  'oci-layout',
  'entrepot/contents.json',
  'entrepot/contents.sig',
  'index.json',
  'manifest.json',
];

/**
 * The tar archive of a folder that holds an OCI image layout; links are not followed.
 * @throws BundleError `BUNDLE_UNSUPPORTED` while it is read, when the folder holds none
 */
export async function* layoutArchive(
  folder: string,
  onRead: (bytes: number) => void,
): AsyncGenerator<Uint8Array, void, undefined> {
  let described = false;
  for (const name of files) {
    const size = await sizeOfFile(path.join(folder, name));
    if (size === undefined) continue;
    described ||= name === 'index.json' || name === 'manifest.json';
    yield* member(folder, name, size, onRead);
  }
  if (!described) {
    const message = `${folder} holds no image layout: it has neither an index.json nor a manifest.json`;
    throw new BundleError('BUNDLE_UNSUPPORTED', message);
  }
  for (const algorithm of ['sha256', 'sha512']) {
    const names = await readdir(path.join(folder, 'blobs', algorithm)).catch(() => []);
    for (const hex of names.sort()) {
      const name = `blobs/${algorithm}/${hex}`;
      const size = await sizeOfFile(path.join(folder, name));
      if (size !== undefined) yield* member(folder, name, size, onRead);
    }
  }
  yield tarEnd;
}

async function* member(
  folder: string,
  name: string,
  size: number,
  onRead: (bytes: number) => void,
): AsyncGenerator<Uint8Array, void, undefined> {
  yield tarHead({ name, size });
  let read = 0;
  for await (const piece of fileContent(path.join(folder, name))) {
    read += piece.length;
    if (read > size) break;
    onRead(piece.length);
    yield piece;
  }
  if (read !== size) throw new BundleError('BUNDLE_CORRUPT', `${name} changed while it was read: try again`);
  yield tarPadding(size);
}

/** Bytes; `undefined` for what is no regular file. */
async function sizeOfFile(file: string): Promise<number | undefined> {
  try {
    const found = await lstat(file);
    return found.isFile() ? found.size : undefined;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}
