import { readFile, writeFile } from 'node:fs/promises';
import { text as readText } from 'node:stream/consumers';
import type { Command } from 'commander';
import { formatLockfile, type LockedImages, parseLockfile } from '../../config/lockfile.ts';
import { type AdminWork, printJson, runAdmin } from '../admin/admin-command.ts';
import { addConfigOption } from '../config-option.ts';
import { lineDiff } from '../line-diff.ts';

type Options = { file?: string; output?: string; check?: boolean; json?: boolean; config?: string };

type Locked = {
  readonly image: string;
  readonly tag: string;
  readonly digest: string;
  readonly platforms?: Readonly<Record<string, string>>;
};

/** Adds `entrepot lock`: writes down which digests tags name now, or checks that a file says so. */
export function addLock(program: Command): void {
  const command = program
    .command('lock')
    .description(
      'look up what tags name now and write it as a lock file for policy.lockfile: sorted, one digest a line',
    )
    .argument(
      '[image:tag...]',
      'such as python:3.12-slim; none: those that the lock file of -o names already',
    )
    .option(
      '-f, --file <list>',
      'read more names from a file, one a line, # for comments; - is standard input',
    )
    .option('-o, --output <lockfile>', 'the lock file to write whole; without it the text is printed')
    .option('--check', 'write nothing: exit 1 and show the difference when -o is not what would be written')
    .option('--json', 'print what was found as JSON; with --check, whether the file is up to date');
  addConfigOption(command).action(async (names: readonly string[], options: Options) => {
    if (options.check && options.output === undefined) {
      command.error('error: --check compares with the file of -o: name it', { exitCode: 2 });
    }
    if (names.length === 0 && options.file === undefined && options.output === undefined) {
      command.error('error: no images: name some, or a list with -f', { exitCode: 2 });
    }
    await runAdmin(options.config, (admin) => lock(names, options, admin), { missingLockfile: 'empty' });
  });
}

async function lock(
  names: readonly string[],
  options: Options,
  { client, signal }: AdminWork,
): Promise<number> {
  const { output } = options;
  const before = output === undefined ? undefined : await readIfThere(output);
  const listed = options.file === undefined ? [] : namesOf(await readList(options.file));
  const asked = [...names, ...listed];
  const named = names.length > 0 || options.file !== undefined;
  const images = named ? asked : namesIn(before ?? '', output ?? '');
  if (images.length === 0) throw new Error('no images: neither the list nor the lock file names one');
  const answer = await client.call({ method: 'POST', path: '/api/v1/lock', body: { images } }, signal);
  const { images: locked } = answer as { images: readonly Locked[] };
  const lockfile = formatLockfile({ images: byImage(locked) });
  if (options.check && output !== undefined) return report(output, before ?? '', lockfile, options);
  if (output !== undefined) await writeFile(output, lockfile);
  if (options.json) printJson(answer);
  else if (output === undefined) process.stdout.write(lockfile);
  else
    process.stdout.write(`${output}: ${before === lockfile ? 'unchanged' : 'written'}, ${count(locked)}\n`);
  return 0;
}

function report(file: string, before: string, after: string, options: Options): number {
  const upToDate = before === after;
  if (options.json) printJson({ file, upToDate });
  else if (upToDate) process.stdout.write(`${file}: up to date\n`);
  else process.stdout.write(`--- ${file}\n+++ now\n${lineDiff(before, after)}`);
  return upToDate ? 0 : 1;
}

function byImage(locked: readonly Locked[]): LockedImages {
  const images: Record<
    string,
    Record<string, { digest: string; platforms?: Record<string, string> }>
  > = Object.create(null);
  for (const { image, tag, digest, platforms } of locked) {
    images[image] ??= Object.create(null) as Record<string, never>;
    images[image][tag] = { digest, ...(platforms && { platforms: { ...platforms } }) };
  }
  return images;
}

/** The images that a lock file names already. */
function namesIn(lockfile: string, name: string): readonly string[] {
  if (lockfile === '') throw new Error(`${name} does not exist yet: name the images that it shall hold`);
  return Object.entries(parseLockfile(lockfile, name).images).flatMap(([image, tags]) => {
    return Object.keys(tags).map((tag) => `${image}:${tag}`);
  });
}

function namesOf(list: string): readonly string[] {
  return list
    .split('\n')
    .map((line) => line.replace(/#.*/, '').trim())
    .filter((line) => line !== '');
}

function readList(file: string): Promise<string> {
  return file === '-' ? readText(process.stdin) : readFile(file, 'utf8');
}

async function readIfThere(file: string): Promise<string | undefined> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

function count({ length }: readonly unknown[]): string {
  return length === 1 ? '1 tag' : `${length} tags`;
}
