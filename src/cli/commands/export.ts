import { readFile } from 'node:fs/promises';
import type { Command } from 'commander';
import { formatSize, parseSize } from '../../lib/units.ts';
import { zstdCompressed } from '../../transfer/bundle/codec.ts';
import { readSigningKey, signatureSize, signed } from '../../transfer/bundle/signature.ts';
import type { planSummary } from '../../transfer/export/exporter.ts';
import { type AdminWork, printJson, runAdmin } from '../admin/admin-command.ts';
import { writeBundle } from '../bundle-output.ts';
import { addConfigOption } from '../config-option.ts';
import { addImages, addPlatforms, type ImageSources, readImages, requireImages } from '../image-arguments.ts';
import { ProgressBars } from '../progress.ts';

type Options = ImageSources & {
  readonly all?: boolean;
  readonly output: string;
  readonly platform?: readonly string[];
  readonly since?: string;
  readonly signKey?: string;
  readonly zstd?: boolean;
  readonly split?: string;
  readonly json?: boolean;
  readonly config?: string;
};

type Summary = ReturnType<typeof planSummary>;

/** One byte more than a file on a FAT file system may have. */
const fatLimit = 4 * 1024 ** 3;

/** The size of parts. Parts of 4 GiB are made a byte smaller, since a FAT stick holds no larger file. */
function partSize(asked: number): number {
  return asked === fatLimit ? fatLimit - 1 : asked;
}

/** Smallest part that a bundle may be split into, in bytes. */
const smallestPart = 1024;

/** Adds `entrepot export`: writes images to a file that is carried to a site without a network. */
export function addExport(program: Command): void {
  const command = program
    .command('export')
    .description(
      'write images that are stored here to a tar archive (an OCI image layout, which skopeo, podman and "docker ' +
        'load" read, too), to be carried to another site and imported there; "entrepot warm" brings them here first',
    );
  addPlatforms(addImages(command))
    .option('--all', 'every image that is stored whole, for whatever platform')
    .requiredOption('-o, --output <file>', 'the file to write; - is standard output')
    .option(
      '--since <receipt>',
      'leave out what the other site has, as the receipt says that its last import has written',
    )
    .option('--sign-key <file>', 'sign the contents with an ed25519 private key (PEM)')
    .option('--zstd', 'compress (layers are compressed already: it gains little)')
    .option(
      '--split <size>',
      'write parts of at most this size: file.000, file.001, ...; 4GiB is what a FAT stick takes (one byte less)',
    )
    .option('--json', 'print what was exported as JSON');
  addConfigOption(command).action(async (names: readonly string[], options: Options) => {
    const split = options.split === undefined ? undefined : parseSize(options.split);
    const wrong = (message: string) => command.error(`error: ${message}`, { exitCode: 2 });
    if (options.all) {
      if (names.length > 0 || options.file !== undefined) wrong('give either images or --all');
    } else requireImages(command, names, options);
    if (options.split !== undefined && (split === undefined || split < smallestPart)) {
      wrong(`--split ${options.split} is no size of a part: write it as 4GB`);
    }
    if (options.output === '-' && (split !== undefined || options.json)) {
      wrong('-o - goes with neither --split nor --json');
    }
    if (options.output === '-' && process.stdout.isTTY)
      wrong('-o - writes an archive: send it to a file or a program');
    await runAdmin(options.config, async (admin) => {
      const images = options.all ? 'all' : await readImages(names, options);
      return exportBundle(images, { ...options, splitAt: split && partSize(split) }, admin);
    });
  });
}

async function exportBundle(
  images: readonly string[] | 'all',
  options: Options & { readonly splitAt: number | undefined },
  { client, signal }: AdminWork,
): Promise<number> {
  const { output, platform: platforms = [], zstd, splitAt: split, json } = options;
  const since = options.since === undefined ? undefined : await readReceipt(options.since);
  const key =
    options.signKey === undefined ? undefined : readSigningKey(await readFile(options.signKey, 'utf8'));
  const body = { images, platforms, since };
  const request = { method: 'POST', path: '/api/v1/export', body } as const;
  const planned = await client.call({ ...request, path: '/api/v1/export/plan' }, signal);
  const summary = planned as Summary;
  const bars = new ProgressBars({ output: process.stderr, now: Date.now });
  const total = summary.size + (key === undefined ? 0 : signatureSize);
  let written = 0;
  async function* counted(pieces: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void, undefined> {
    for await (const piece of pieces) {
      signal.throwIfAborted();
      written += piece.length;
      bars.setTotal({ label: 'export', done: written, total });
      yield piece;
    }
  }
  try {
    const bundle = client.download(request, signal);
    const whole = counted(key === undefined ? bundle : signed(bundle, key));
    const packed = zstd ? zstdCompressed(whole) : whole;
    const files = output === '-' ? await writeOut(packed) : await writeBundle(output, packed, { split });
    bars.close();
    if (json) printJson({ ...summary, files });
    else process.stderr.write(summaryText(summary, output));
  } finally {
    bars.close();
  }
  return 0;
}

async function writeOut(pieces: AsyncIterable<Uint8Array>): Promise<readonly string[]> {
  for await (const piece of pieces) {
    await new Promise<void>((resolve, reject) => {
      process.stdout.write(piece, (error) => (error ? reject(error) : resolve()));
    });
  }
  return [];
}

async function readReceipt(file: string): Promise<unknown> {
  const text = await readFile(file, 'utf8');
  try {
    return JSON.parse(text) as unknown;
  } catch (cause) {
    throw new Error(`${file} is no receipt that an import has written`, { cause });
  }
}

function summaryText({ images, blobs, leftOut, size, skipped }: Summary, output: string): string {
  const lines = images.map(({ image, digest, platforms }) => {
    return `${image}  ${digest}${platforms === undefined ? '' : `  ${platforms.join(', ')}`}\n`;
  });
  const left = leftOut > 0 ? `, ${leftOut} left out as the receipt says` : '';
  const count = images.length === 1 ? '1 image' : `${images.length} images`;
  lines.push(`${output}: ${count}, ${blobs} blobs, ${formatSize(size)}${left}\n`);
  for (const image of skipped) lines.push(`not stored whole, left out: ${image}\n`);
  return lines.join('');
}
