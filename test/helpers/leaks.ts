import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';

/** The files below a directory, relative, sorted; empty when there is no such directory. */
export function filesUnder(directory: string): string[] {
  if (!existsSync(directory)) return [];
  const entries = readdirSync(directory, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => !entry.isDirectory());
  return files.map((file) => join(file.parentPath, file.name).slice(directory.length + 1)).sort();
}

/** The files below a directory that this process holds open, worker threads included (Linux; else empty). */
export function openFilesUnder(directory: string): string[] {
  if (!existsSync('/proc/self/fd')) return [];
  return readdirSync('/proc/self/fd').flatMap((fd) => {
    try {
      const target = readlinkSync(`/proc/self/fd/${fd}`);
      return target.startsWith(`${directory}/`) ? [target.slice(directory.length + 1)] : [];
    } catch {
      return []; // The descriptor of the directory listing itself is closed by now.
    }
  });
}

/** What a storage directory holds of each kind, by the layout of the design. */
export type StorageFiles = { readonly blobs: string[]; readonly fills: string[] };

/** The blobs and unfinished fills in a storage directory. */
export function storageFiles(storagePath: string): StorageFiles {
  return { blobs: filesUnder(join(storagePath, 'blobs')), fills: filesUnder(join(storagePath, 'fills')) };
}

/** Throws when a closed proxy left fills behind (unless allowed) or keeps files of its storage open. */
export function checkLeaks(storagePath: string, options: { allowFills?: boolean } = {}): void {
  const open = openFilesUnder(storagePath);
  if (open.length > 0) throw new Error(`still open after close: ${open.join(', ')}`);
  const { fills } = storageFiles(storagePath);
  if (fills.length > 0 && !options.allowFills) throw new Error(`fills left after close: ${fills.join(', ')}`);
}

/** The names of the files below a directory whose content includes a text, for tests that hunt secrets. */
export function filesContaining(directory: string, text: string): string[] {
  return filesUnder(directory).filter((file) => readFileSync(join(directory, file)).includes(text));
}
