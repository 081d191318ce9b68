/** Tar is made of blocks of this many bytes. */
export const tarBlock = 512;

/** The two empty blocks that end an archive (POSIX.1-1988, "ustar"). */
export const tarEnd: Buffer = Buffer.alloc(2 * tarBlock);

/** A member of an archive: a file of so many bytes, or a directory, whose name ends with a slash. */
export type TarMember = { readonly name: string; readonly size: number };

const longestName = 100;
const largestOctal = 0o77777777777;
const noBytes = Buffer.alloc(0);

/**
 * The head of a member: one block, or three when its name needs an extended header (POSIX.1-2001, "pax"). Owner, time
 * and mode are always the same, so that the same content makes the same archive. The name must be ASCII.
 */
export function tarHead({ name, size }: TarMember): Buffer {
  if (name.length <= longestName) return block(name, size, name.endsWith('/') ? '5' : '0');
  const record = paxRecord('path', name);
  const shortened = name.slice(0, longestName);
  return Buffer.concat([
    block('pax', record.length, 'x'),
    record,
    tarPadding(record.length),
    block(shortened, size, '0'),
  ]);
}

/** What fills a member's last block. */
export function tarPadding(size: number): Buffer {
  const over = size % tarBlock;
  return over === 0 ? noBytes : Buffer.alloc(tarBlock - over);
}

/** The bytes that a member takes in an archive, its head and padding included. */
export function tarMemberSize(member: TarMember): number {
  return tarHead(member).length + Math.ceil(member.size / tarBlock) * tarBlock;
}

/** The checksum of a header block: the sum of its bytes, with blanks in the checksum's own place. */
export function tarChecksum(header: Buffer): number {
  let sum = 8 * 0x20;
  for (let at = 0; at < tarBlock; at += 1) {
    if (at < 148 || at >= 156) sum += header[at] ?? 0;
  }
  return sum;
}

function block(name: string, size: number, type: '0' | '5' | 'x'): Buffer {
  const header = Buffer.alloc(tarBlock);
  header.write(name, 0, longestName, 'latin1');
  header.write(octal(type === '5' ? 0o755 : 0o644, 7), 100);
  header.write(octal(0, 7), 108);
  header.write(octal(0, 7), 116);
  writeSize(header, size);
  header.write(octal(0, 11), 136);
  header.write(type, 156);
  header.write('ustar\u000000', 257);
  header.write(octal(0, 7), 329);
  header.write(octal(0, 7), 337);
  header.write(`${octal(tarChecksum(header), 6)}\0 `, 148);
  return header;
}

/** Sizes beyond eight gibibytes are written in binary, as GNU tar does and every reader of today understands. */
function writeSize(header: Buffer, size: number): void {
  if (size <= largestOctal) {
    header.write(octal(size, 11), 124);
    return;
  }
  header[124] = 0x80;
  header.writeBigUInt64BE(BigInt(size), 128);
}

function octal(value: number, width: number): string {
  return value.toString(8).padStart(width, '0');
}

/** A record that says its own length (POSIX.1-2001, "pax Extended Header"). */
function paxRecord(key: string, value: string): Buffer {
  const rest = ` ${key}=${value}\n`;
  let length = rest.length;
  while (String(length).length + rest.length !== length) length = String(length).length + rest.length;
  return Buffer.from(`${length}${rest}`, 'latin1');
}
