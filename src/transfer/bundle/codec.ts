import { pipeline, Readable, type Transform } from 'node:stream';
import { constants, createGunzip, createZstdCompress, createZstdDecompress } from 'node:zlib';
import { BundleError } from './bundle-error.ts';

/** How files in these formats begin (RFC 1952; RFC 8878). */
const magics = { gzip: [0x1f, 0x8b], zstd: [0x28, 0xb5, 0x2f, 0xfd] } as const;

/** How much is handed on at a time, in bytes. */
const pieceSize = 256 * 1024;

/** What bytes are compressed with, as far as their beginning says: four of them are enough. */
export function compressionOf(beginning: Uint8Array): 'gzip' | 'zstd' | undefined {
  const startsWith = (magic: readonly number[]) => magic.every((byte, at) => beginning[at] === byte);
  if (startsWith(magics.gzip)) return 'gzip';
  return startsWith(magics.zstd) ? 'zstd' : undefined;
}

/**
 * The bytes as they were before compression with gzip or zstd; what is not compressed passes through.
 * @throws BundleError `BUNDLE_TRUNCATED`, `BUNDLE_CORRUPT` while it is read
 */
export async function* decompressed(bytes: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const pieces = bytes[Symbol.asyncIterator]();
  const beginning: Uint8Array[] = [];
  for (let length = 0; length < magics.zstd.length; ) {
    const { value, done } = await pieces.next();
    if (done === true) break;
    beginning.push(value);
    length += value.length;
  }
  const all = continued(beginning, pieces);
  const compression = compressionOf(Buffer.concat(beginning));
  if (compression === undefined) yield* all;
  else yield* unpacked(all, compression);
}

/** Decompresses a stream that is known to be compressed; throws as {@link decompressed} does. */
export async function* unpacked(
  bytes: AsyncIterable<Uint8Array>,
  compression: 'gzip' | 'zstd',
): AsyncGenerator<Uint8Array> {
  const options = { chunkSize: pieceSize };
  const transform = compression === 'gzip' ? createGunzip(options) : createZstdDecompress(options);
  try {
    yield* through(bytes, transform);
  } catch (error) {
    throw decompressionError(error, compression);
  }
}

/** Compresses with zstd, with a checksum at the end; the same bytes in make the same bytes out. */
export function zstdCompressed(bytes: AsyncIterable<Uint8Array>): AsyncIterable<Uint8Array> {
  const params = { [constants.ZSTD_c_checksumFlag]: 1 };
  return through(bytes, createZstdCompress({ chunkSize: pieceSize, params }));
}

async function* through(bytes: AsyncIterable<Uint8Array>, transform: Transform): AsyncGenerator<Uint8Array> {
  const source = Readable.from(bytes, { objectMode: false });
  // What goes wrong at the source ends the transform too, and so comes out below.
  pipeline(source, transform, () => undefined);
  try {
    yield* transform as AsyncIterable<Uint8Array>;
  } finally {
    source.destroy();
    transform.destroy();
  }
}

async function* continued(
  first: readonly Uint8Array[],
  rest: AsyncIterator<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  try {
    yield* first;
    for (let next = await rest.next(); next.done !== true; next = await rest.next()) yield next.value;
  } finally {
    await rest.return?.();
  }
}

function decompressionError(error: unknown, compression: string): unknown {
  const { code } = error as { code?: string };
  if (code === 'Z_BUF_ERROR') {
    const message = `the ${compression} file ends too early: it was not copied whole`;
    return new BundleError('BUNDLE_TRUNCATED', message, { cause: error });
  }
  if (/^(?:Z_|ZSTD_)/.test(code ?? '')) {
    const message = `the ${compression} file is damaged: copy it again`;
    return new BundleError('BUNDLE_CORRUPT', message, { cause: error });
  }
  return error;
}
