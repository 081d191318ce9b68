import { createHash } from 'node:crypto';
import { open, readdir, readFile, stat } from 'node:fs/promises';
import path from 'node:path';
import { fileContent } from '../lib/read-bytes.ts';
import { BundleError } from '../transfer/bundle/bundle-error.ts';
import { decompressed } from '../transfer/bundle/codec.ts';
import {
  type BundlePart,
  checkNumbers,
  checkParts,
  type FoundPart,
  headLength,
  parsePartList,
  partListName,
  partName,
  splitPartName,
} from '../transfer/bundle/parts.ts';
import { layoutArchive } from './layout-archive.ts';

/** One archive that is to be imported, wherever it comes from. */
export type BundleInput = {
  /** What people call it. */
  readonly title: string;
  /** Where its receipt belongs, without the ending; `undefined` for standard input. */
  readonly file: string | undefined;
  /** Bytes that will be read; `undefined` when that is not known. */
  readonly size: number | undefined;
  /** The tar archive, uncompressed. @param onRead is told of bytes as they are read */
  pieces(onRead: (bytes: number) => void): AsyncIterable<Uint8Array>;
  /** Looks for what is damaged when an import has failed: the name of a part; `undefined` when none is known to be. */
  damagedPart(): Promise<string | undefined>;
  /** Ends whatever still waits for bytes of it. */
  close(): void;
};

/**
 * Finds the archives that a user means: files, folders with an image layout, `-`, and bundles in parts, of which naming
 * one is enough when the others are beside it.
 * @throws BundleError `BUNDLE_PARTS`; the file system's error for what is not there
 */
export async function findBundles(names: readonly string[]): Promise<readonly BundleInput[]> {
  const inputs = new Map<string, BundleInput>();
  const parts = new Map<string, Map<number, string>>();
  for (const name of names) {
    const named = name === '-' ? undefined : await partsNamed(name);
    if (named === undefined) {
      inputs.set(name, name === '-' ? standardInput() : await wholeFile(name));
      continue;
    }
    const known = parts.get(named.bundle) ?? new Map<number, string>();
    // Parts that are named go before those that happen to lie beside them.
    for (const [number, file] of named.files)
      if (!known.has(number) || file === name) known.set(number, file);
    parts.set(named.bundle, known);
  }
  for (const [bundle, files] of parts) inputs.set(bundle, await splitBundle(bundle, files));
  return [...inputs.values()];
}

/** The parts of the bundle that `name` is of, or of which `name` is the name before it was split. */
async function partsNamed(name: string) {
  const own = splitPartName(path.basename(name));
  const bundle = own?.bundle ?? path.basename(name);
  if (own === undefined && (await exists(name))) return undefined;
  const folder = path.dirname(name);
  const files = new Map<number, string>();
  for (const beside of await readdir(folder).catch(() => [])) {
    const part = splitPartName(beside);
    if (part?.bundle === bundle) files.set(part.number, path.join(folder, beside));
  }
  if (own !== undefined && (await exists(name))) files.set(own.number, name);
  return files.size === 0 ? undefined : { bundle, files };
}

async function splitBundle(bundle: string, files: ReadonlyMap<number, string>): Promise<BundleInput> {
  const folders = [...new Set([...files.values()].map((file) => path.dirname(file)))];
  const list = await firstText(folders.map((folder) => path.join(folder, partListName(bundle))));
  const found = new Map<number, FoundPart>();
  for (const [number, file] of files) found.set(number, await lookAt(file));
  if (list === undefined) checkNumbers(bundle, files.keys());
  else checkParts(list, found);
  const count = list?.length ?? files.size;
  const ordered = Array.from({ length: count }, (_, number) => files.get(number) ?? partName(bundle, number));
  const sizes = [...found.entries()].filter(([number]) => number < count).map(([, { size }]) => size);
  return {
    title: `${bundle} (${count} ${count === 1 ? 'part' : 'parts'})`,
    file: path.join(folders[0] ?? '.', bundle),
    size: sizes.reduce((sum, size) => sum + size, 0),
    pieces: (onRead) => decompressed(joined(ordered, onRead)),
    damagedPart: async () => {
      for (const [number, file] of ordered.entries()) {
        if (list !== undefined && (await sha256(file)) !== list[number]?.sha256) return path.basename(file);
      }
      return undefined;
    },
    close: () => undefined,
  };
}

async function wholeFile(name: string): Promise<BundleInput> {
  const found = await stat(name);
  const folder = found.isDirectory();
  return {
    title: name,
    file: name.replace(/\/+$/, ''),
    size: folder ? undefined : found.size,
    pieces: (onRead) => (folder ? layoutArchive(name, onRead) : decompressed(joined([name], onRead))),
    damagedPart: async () => undefined,
    close: () => undefined,
  };
}

function standardInput(): BundleInput {
  async function* counted(onRead: (bytes: number) => void): AsyncGenerator<Uint8Array, void, undefined> {
    for await (const piece of process.stdin as AsyncIterable<Uint8Array>) {
      onRead(piece.length);
      yield piece;
    }
  }
  return {
    title: 'standard input',
    file: undefined,
    size: undefined,
    pieces: (onRead) => decompressed(counted(onRead)),
    damagedPart: async () => undefined,
    // Whoever writes to it may not be done, and would keep this process waiting.
    close: () => void process.stdin.destroy(),
  };
}

async function* joined(
  files: readonly string[],
  onRead: (bytes: number) => void,
): AsyncGenerator<Uint8Array, void, undefined> {
  for (const file of files) {
    for await (const piece of fileContent(file)) {
      onRead(piece.length);
      yield piece;
    }
  }
}

async function lookAt(file: string): Promise<FoundPart> {
  const handle = await open(file, 'r');
  try {
    const { size } = await handle.stat();
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(headLength), 0, headLength, 0);
    const head = createHash('sha256').update(buffer.subarray(0, bytesRead)).digest('hex');
    return { name: path.basename(file), size, head };
  } finally {
    await handle.close();
  }
}

async function sha256(file: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const piece of fileContent(file)) hash.update(piece);
  return hash.digest('hex');
}

async function firstText(files: readonly string[]): Promise<readonly BundlePart[] | undefined> {
  for (const file of files) {
    if (!(await exists(file))) continue;
    const text = await readFile(file, 'utf8');
    return parsePartList(text, file);
  }
  return undefined;
}

async function exists(file: string): Promise<boolean> {
  try {
    await stat(file);
    return true;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR') return false;
    throw new BundleError('BUNDLE_PARTS', `${file} cannot be read: ${code}`, { cause: error });
  }
}
