import { formatSize } from '../../lib/units.ts';
import { type Digest, digestAlgorithm, parseDigest } from '../../oci/digest.ts';
import type { StagedFile, Staging } from '../../store/disk/import-staging.ts';
import { memberNames } from '../bundle/bundle-contents.ts';
import { BundleError } from '../bundle/bundle-error.ts';
import type { TarEntry, TarReader } from '../bundle/tar-read.ts';

/** A file of an archive that is kept until it is known what it is. */
export type StagedContent = {
  readonly digest: Digest;
  readonly size: number;
  readonly file: StagedFile;
  readonly compression: 'gzip' | 'zstd' | undefined;
};

/**
 * Writes a member's content to a staged file.
 * @param to.digest what its digest should be; only the algorithm counts
 * @returns the file, the digest of what it holds, and its first bytes
 * @throws BundleError `NO_SPACE` before anything is written
 */
export async function stageMember(
  { name, size }: TarEntry,
  reader: TarReader,
  { staging, digest }: { readonly staging: Staging; readonly digest: Digest | undefined },
  signal: AbortSignal,
): Promise<{ file: StagedFile; found: Digest; first: Buffer }> {
  const room = await staging.room();
  if (size > room) {
    throw new BundleError(
      'NO_SPACE',
      `${name} takes ${formatSize(size)} and there is room for ${formatSize(room)}: make space in the storage, then import again`,
    );
  }
  const file = staging.create(digest === undefined ? 'sha256' : digestAlgorithm(digest));
  try {
    let first: Buffer = Buffer.alloc(0);
    for (let piece = await reader.read(); piece !== undefined; piece = await reader.read()) {
      signal.throwIfAborted();
      if (first.length < 4) first = Buffer.concat([first, piece.subarray(0, 16)]);
      await file.write(piece);
    }
    return { file, found: await file.finish(), first };
  } catch (error) {
    await file.discard().catch(() => undefined);
    throw error;
  }
}

/** Whether a member describes the archive, and is small enough to be held. */
export function isPlain(name: string): boolean {
  return (Object.values(memberNames) as readonly string[]).includes(name);
}

/** The digest that a member of an image layout is named by; `undefined` for other members. */
export function digestOfBlob(name: string): Digest | undefined {
  const [folder, algorithm, hex, ...more] = name.split('/');
  return folder === 'blobs' && more.length === 0 ? parseDigest(`${algorithm}:${hex}`) : undefined;
}

/** A link's target as a name in the archive: relative to where the link is, as `docker save` writes it. */
export function linkTarget(name: string, target: string): string {
  const folder = name.split('/').slice(0, -1);
  for (const step of target.split('/')) {
    if (step === '..') folder.pop();
    else if (step !== '.' && step !== '') folder.push(step);
  }
  return folder.join('/');
}
