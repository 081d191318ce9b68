import { readFile, writeFile } from 'node:fs/promises';
import type { Command } from 'commander';
import { formatSize } from '../../lib/units.ts';
import { encodeReceipt, makeReceipt, type Receipt } from '../../transfer/bundle/receipt.ts';
import { readVerifyKey, verifyKeyText } from '../../transfer/bundle/signature.ts';
import type { ImportEvent, ImportedImage, ImportSummary } from '../../transfer/import/import-events.ts';
import { type AdminWork, runAdmin } from '../admin/admin-command.ts';
import { type BundleInput, findBundles } from '../bundle-input.ts';
import { addConfigOption } from '../config-option.ts';
import { ProgressBars } from '../progress.ts';

type Options = {
  readonly name?: string;
  readonly verifyKey?: string;
  readonly receipt?: string;
  readonly json?: boolean;
  readonly config?: string;
};

/** Adds `entrepot import`: takes in what was carried here. */
export function addImport(program: Command): void {
  const command = program
    .command('import')
    .description(
      'take in a bundle that "entrepot export" wrote, an OCI image layout (tar or folder), or an archive of "docker ' +
        'save"; compressed or not. All of it is checked before anything can be pulled; run it again if it was interrupted',
    )
    .argument(
      '<file...>',
      'archives, folders, parts (one is enough when the others are beside it); - is standard input',
    )
    .option(
      '--name <image>',
      'what the image is called, where the archive does not say: docker.io/library/app:1.0',
    )
    .option(
      '--verify-key <file>',
      'take in only what was signed with this ed25519 key (its public half, PEM)',
    )
    .option(
      '--receipt <file>',
      'where to write what this site has now, for the next "export --since"; default: beside the archive',
    )
    .option('--json', 'print what happens as JSON, one event a line');
  addConfigOption(command).action(async (names: readonly string[], options: Options) => {
    await runAdmin(options.config, (admin) => importAll(names, options, admin));
  });
}

async function importAll(names: readonly string[], options: Options, admin: AdminWork): Promise<number> {
  const bundles = await findBundles(names);
  const key =
    options.verifyKey === undefined ? undefined : readVerifyKey(await readFile(options.verifyKey, 'utf8'));
  const query = { name: options.name, verifyKey: key && verifyKeyText(key) };
  const summaries: ImportSummary[] = [];
  for (const bundle of bundles) {
    const summary = await importOne(bundle, query, options, admin);
    summaries.push(summary);
    if (!options.json) process.stdout.write(summaryText(bundle, summary));
    if (options.receipt === undefined && bundle.file !== undefined) {
      await writeReceipt(`${bundle.file}.receipt.json`, summary.receipt, options);
    }
  }
  const last = summaries.at(-1)?.receipt;
  if (options.receipt !== undefined && last !== undefined) {
    // The last one has everything that the site holds; what it lacks are the names of the others' images.
    const images = summaries.flatMap(({ receipt }) => receipt.images);
    await writeReceipt(options.receipt, makeReceipt({ ...last, images }), options);
  }
  return 0;
}

async function importOne(
  bundle: BundleInput,
  query: Readonly<Record<string, string | undefined>>,
  { json }: Options,
  { client, signal }: AdminWork,
): Promise<ImportSummary> {
  const bars = new ProgressBars({ output: process.stderr, now: Date.now });
  const source = watched(bundle, bars, signal);
  const request = { method: 'POST', path: '/api/v1/import', query, upload: source.pieces } as const;
  let ended: Extract<ImportEvent, { kind: 'done' | 'failed' }> | undefined;
  try {
    for await (const line of client.stream(request, signal)) {
      const event = line as ImportEvent;
      if (json) process.stdout.write(`${JSON.stringify(shown(event))}\n`);
      if (event.kind !== 'done' && event.kind !== 'failed') continue;
      ended = event;
      break;
    }
  } catch (error) {
    signal.throwIfAborted();
    // The server cannot tell an archive that cannot be read from one that ends.
    throw source.failure() ?? error;
  } finally {
    bars.close();
    bundle.close();
  }
  if (ended?.kind === 'done') return ended;
  if (ended === undefined)
    throw new Error('the server ended without saying how it went: its log may say why');
  const damaged = await bundle.damagedPart();
  const part = damaged === undefined ? '' : `\n${damaged} is not as it was written: copy this part again`;
  throw new Error(`${bundle.title}: ${ended.message}${part}`);
}

function watched(bundle: BundleInput, bars: ProgressBars, signal: AbortSignal) {
  let failure: unknown;
  let done = 0;
  async function* pieces(): AsyncGenerator<Uint8Array, void, undefined> {
    try {
      for await (const piece of bundle.pieces((bytes) => {
        done += bytes;
        bars.setTotal({ label: 'import', done, total: bundle.size ?? done });
      })) {
        signal.throwIfAborted();
        yield piece;
      }
    } catch (error) {
      failure = error;
      throw error;
    }
  }
  return { pieces: pieces(), failure: () => failure };
}

/** A receipt that cannot be written (the stick is read-only) does not undo the import. */
async function writeReceipt(file: string, receipt: Receipt, { json }: Options): Promise<void> {
  try {
    await writeFile(file, encodeReceipt(receipt));
    if (json) process.stdout.write(`${JSON.stringify({ kind: 'receipt', file })}\n`);
    else process.stdout.write(`receipt for the next export --since: ${file}\n`);
  } catch (error) {
    const { message } = error as Error;
    process.stderr.write(`entrepot: no receipt was written (${message}): say where with --receipt\n`);
  }
}

/** The receipt goes to its own file. */
function shown(event: ImportEvent): object {
  if (event.kind !== 'done') return event;
  const { receipt, ...rest } = event;
  return rest;
}

function summaryText(
  { title }: BundleInput,
  { images, stored, present, bytes, signedBy }: ImportSummary,
): string {
  const lines = images.filter(({ referrer }) => !referrer).map(imageText);
  const by = signedBy === undefined ? '' : `, signed by ${signedBy}`;
  const all = images.length === 1 ? '1 image' : `${images.length} images`;
  const here = present === 0 ? '' : `, ${present} ${present === 1 ? 'was' : 'were'} here`;
  return `${lines.join('')}${title}: ${all}, ${stored} ${stored === 1 ? 'blob' : 'blobs'} stored (${formatSize(bytes)})${here}${by}\n`;
}

function imageText({ image, digest, before, held, made }: ImportedImage): string {
  const notes = [
    before === undefined
      ? undefined
      : held
        ? `held at ${before} here: release it to serve this`
        : `was ${before}`,
    made ? 'made from docker save: not the digest that the registry has' : undefined,
  ].filter((note) => note !== undefined);
  return `${image}  ${digest}${notes.length === 0 ? '' : `  (${notes.join('; ')})`}\n`;
}
