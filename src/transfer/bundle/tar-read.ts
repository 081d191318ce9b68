import { BundleError } from './bundle-error.ts';
import { ByteSource } from './byte-source.ts';
import { tarBlock, tarChecksum, tarHead } from './tar-write.ts';

/** One member of an archive that is read. */
export type TarEntry = {
  /** As the archive has it; it is not a path to be opened. */
  readonly name: string;
  readonly kind: 'file' | 'directory' | 'link' | 'other';
  /** Bytes of content. */
  readonly size: number;
  /** What a link (hard or symbolic) names. */
  readonly target: string | undefined;
};

/** Bytes of an extended header; real ones hold a name or two. */
const longestExtension = 1024 * 1024;

/** Bytes after the end of an archive that are skipped: tapes had blocks of ten kilobytes. */
const mostAfterEnd = 1024 * 1024;

/** What extended headers said of the member that follows. */
type Extension = { name?: string; target?: string; size?: number };

/**
 * Reads a tar archive (ustar, pax, and GNU's long names and sizes) in one pass, in memory that does not depend on its
 * size. An archive without its end marker is truncated. Everything it throws is a BundleError but what the bytes'
 * own source throws.
 */
export class TarReader {
  readonly #source: ByteSource;
  #left = 0;
  #padding = 0;
  #entry: TarEntry | undefined;
  #head: Buffer[] = [];
  #deviation: string | undefined;

  constructor(bytes: AsyncIterable<Uint8Array>) {
    this.#source = new ByteSource(bytes);
  }

  /** Where the archive first differs from what `tarHead` and its companions write; `undefined` while it does not. */
  get deviation(): string | undefined {
    return this.#deviation;
  }

  /** How many bytes of the archive were read. */
  get offset(): number {
    return this.#source.offset;
  }

  /** The next member; `undefined` at the end. What was not read of the last one is read over. */
  async next(): Promise<TarEntry | undefined> {
    await this.#skip();
    await this.#readPadding();
    this.#head = [];
    const extension: Extension = {};
    for (;;) {
      const header = await this.#block();
      if (isEmpty(header)) return this.#end();
      this.#head.push(header);
      const type = String.fromCharCode(header[156] ?? 0);
      const size = this.#number(header.subarray(124, 136));
      this.#checkHeader(header);
      if ('xgLK'.includes(type)) {
        await this.#extend(extension, type, size);
        continue;
      }
      return this.#begin(header, type, { name: nameOf(header), size, ...extension });
    }
  }

  /** The next piece of the member's content; `undefined` when that was all. */
  async read(): Promise<Buffer | undefined> {
    if (this.#left === 0) return undefined;
    const piece = await this.#source.some(this.#left);
    if (piece === undefined) throw this.#source.truncated();
    this.#left -= piece.length;
    return piece;
  }

  /** All of the member's content, which must not be over `most` bytes. */
  async readWhole(most: number): Promise<Buffer> {
    if (this.#left > most) {
      throw new BundleError(
        'BUNDLE_UNSUPPORTED',
        `${this.#entry?.name} is ${this.#left} bytes long: at most ${most} are read`,
      );
    }
    const pieces: Buffer[] = [];
    for (let piece = await this.read(); piece !== undefined; piece = await this.read()) pieces.push(piece);
    return Buffer.concat(pieces);
  }

  /** Closes what the archive comes from. */
  close(): Promise<void> {
    return this.#source.close();
  }

  async #skip(): Promise<void> {
    while (this.#left > 0) await this.read();
  }

  #begin(
    header: Buffer,
    type: string,
    { name, size, target }: Extension & { name: string; size: number },
  ): TarEntry {
    const kind = kindOf(type, name);
    const linkName = target ?? text(header.subarray(157, 257));
    const entry: TarEntry = {
      name,
      kind,
      size: kind === 'directory' || kind === 'link' ? 0 : size,
      target: kind === 'link' ? linkName : undefined,
    };
    this.#left = entry.size;
    this.#padding = (tarBlock - (entry.size % tarBlock)) % tarBlock;
    this.#entry = entry;
    if (!isAscii(name) || !tarHead(entry).equals(Buffer.concat(this.#head))) this.#deviates(`before ${name}`);
    return entry;
  }

  async #extend(extension: Extension, type: string, size: number): Promise<void> {
    if (size > longestExtension) throw this.#corrupt('an extended header is too long');
    const content = await this.#source.exactly(size);
    const padding = await this.#source.exactly((tarBlock - (size % tarBlock)) % tarBlock);
    if (content === undefined || padding === undefined) throw this.#source.truncated();
    this.#head.push(content, padding);
    if (type === 'L') extension.name = text(content);
    else if (type === 'K') extension.target = text(content);
    else if (type === 'x') this.#extendPax(extension, content);
  }

  #extendPax(extension: Extension, content: Buffer): void {
    for (let at = 0; at < content.length; ) {
      const blank = content.indexOf(0x20, at);
      const length = Number(content.toString('latin1', at, Math.max(blank, at)));
      if (!Number.isSafeInteger(length) || length < 5 || at + length > content.length) {
        throw this.#corrupt('an extended header is malformed');
      }
      const record = content.toString('utf8', blank + 1, at + length - 1);
      const [key, value] = [record.slice(0, record.indexOf('=')), record.slice(record.indexOf('=') + 1)];
      if (key === 'path') extension.name = value;
      else if (key === 'linkpath') extension.target = value;
      else if (key === 'size') {
        const size = Number(value);
        if (!Number.isSafeInteger(size) || size < 0) throw this.#corrupt('a size is malformed');
        extension.size = size;
      }
      at += length;
    }
  }

  async #readPadding(): Promise<void> {
    if (this.#padding === 0) return;
    const padding = await this.#source.exactly(this.#padding);
    if (padding === undefined) throw this.#source.truncated();
    if (!isEmpty(padding)) this.#deviates(`after ${this.#entry?.name}`);
    this.#padding = 0;
  }

  async #end(): Promise<undefined> {
    const second = await this.#block();
    if (!isEmpty(second)) throw this.#corrupt('there is one empty block where two end the archive');
    if ((await this.#source.some(1)) === undefined) return undefined;
    this.#deviates('after its end');
    for (let over = 1; over < mostAfterEnd; ) {
      const piece = await this.#source.some(tarBlock * 128);
      if (piece === undefined) return undefined;
      over += piece.length;
    }
    throw this.#corrupt('there is more after its end');
  }

  async #block(): Promise<Buffer> {
    const block = await this.#source.exactly(tarBlock);
    if (block === undefined) throw this.#source.truncated();
    return block;
  }

  #checkHeader(header: Buffer): void {
    if (this.#number(header.subarray(148, 156)) === tarChecksum(header)) return;
    if (this.#source.offset > tarBlock) throw this.#corrupt('a header has another checksum than it says');
    throw new BundleError('BUNDLE_UNSUPPORTED', 'this is no tar archive, nor one that was compressed');
  }

  /** A number in octal digits, or in binary with the highest bit set. */
  #number(field: Buffer): number {
    const first = field[0] ?? 0;
    if (first === 0x80 && field.length === 12) {
      const value = field.readBigUInt64BE(4);
      if (field.readUInt32BE(0) === 0x80000000 && value <= BigInt(Number.MAX_SAFE_INTEGER))
        return Number(value);
    }
    const digits = field
      .toString('latin1')
      .replace(/^ +/, '')
      .replace(/[\0 ].*$/s, '');
    if (!/^[0-7]*$/.test(digits)) {
      if (this.#source.offset > tarBlock) throw this.#corrupt('a number in a header is malformed');
      throw new BundleError('BUNDLE_UNSUPPORTED', 'this is no tar archive, nor one that was compressed');
    }
    return digits === '' ? 0 : Number.parseInt(digits, 8);
  }

  #deviates(where: string): void {
    this.#deviation ??= where;
  }

  #corrupt(what: string): BundleError {
    const where = this.#entry === undefined ? '' : `, after ${this.#entry.name}`;
    return new BundleError(
      'BUNDLE_CORRUPT',
      `the archive is damaged near byte ${this.#source.offset}${where}: ${what}; copy it again`,
    );
  }
}

function kindOf(type: string, name: string): TarEntry['kind'] {
  if (type === '5') return 'directory';
  if (type === '1' || type === '2') return 'link';
  if (type !== '0' && type !== '\0' && type !== '7') return 'other';
  return name.endsWith('/') ? 'directory' : 'file';
}

function nameOf(header: Buffer): string {
  const name = text(header.subarray(0, 100));
  const isUstar = header.toString('latin1', 257, 263) === 'ustar\0';
  const prefix = isUstar ? text(header.subarray(345, 500)) : '';
  return prefix === '' ? name : `${prefix}/${name}`;
}

function text(field: Buffer): string {
  const end = field.indexOf(0);
  return field.toString('utf8', 0, end < 0 ? field.length : end);
}

function isAscii(name: string): boolean {
  return /^[ -~]*$/.test(name);
}

const nothing = Buffer.alloc(tarBlock);

function isEmpty(block: Buffer): boolean {
  return block.equals(nothing.subarray(0, block.length));
}
