/** One member of a layer; paths are relative, directories come before what they hold. */
export type TarEntry =
  | { readonly kind: 'file'; readonly path: string; readonly mode: number; readonly bytes: Buffer }
  | { readonly kind: 'directory'; readonly path: string }
  | { readonly kind: 'symlink'; readonly path: string; readonly target: string };

const block = 512;

/** Packs entries as an uncompressed ustar archive (POSIX.1-1988) owned by root, all with the same time. */
export function packTar(entries: readonly TarEntry[]): Buffer {
  const pieces = entries.flatMap((entry) => {
    const bytes = entry.kind === 'file' ? entry.bytes : Buffer.alloc(0);
    return [headerOf(entry, bytes.length), bytes, Buffer.alloc((block - (bytes.length % block)) % block)];
  });
  return Buffer.concat([...pieces, Buffer.alloc(2 * block)]);
}

const types = { file: '0', symlink: '2', directory: '5' } as const;

function headerOf(entry: TarEntry, size: number): Buffer {
  const header = Buffer.alloc(block);
  const mode = entry.kind === 'file' ? entry.mode : 0o755;
  header.write(entry.kind === 'directory' ? `${entry.path}/` : entry.path, 0, 100);
  header.write(octal(mode, 7), 100);
  header.write(octal(0, 7), 108);
  header.write(octal(0, 7), 116);
  header.write(octal(size, 11), 124);
  header.write(octal(1_700_000_000, 11), 136);
  header.write(' '.repeat(8), 148);
  header.write(types[entry.kind], 156);
  if (entry.kind === 'symlink') header.write(entry.target, 157, 100);
  header.write('ustar\u000000', 257);
  header.write('root', 265);
  header.write('root', 297);
  const checksum = header.reduce((sum, byte) => sum + byte, 0);
  header.write(`${octal(checksum, 6)}\0 `, 148);
  return header;
}

function octal(value: number, width: number): string {
  return value.toString(8).padStart(width, '0');
}
