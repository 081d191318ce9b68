import type { Command } from 'commander';
import { formatSize } from '../../lib/units.ts';
import { type AdminWork, printJson, runAdmin } from '../admin/admin-command.ts';
import { addConfigOption } from '../config-option.ts';
import { table } from '../table.ts';

type Options = { now?: boolean; json?: boolean; config?: string };

type Run = {
  readonly startedAt: string;
  readonly added: readonly string[];
  readonly moved: readonly string[];
  readonly unchanged: readonly string[];
  readonly failed: readonly { readonly tag?: string; readonly message: string }[];
  readonly stopped?: string;
  readonly requests: number;
  readonly bytes: number;
};

type Entry = {
  readonly image: string;
  readonly tags?: readonly string[];
  readonly semver?: string;
  readonly newest?: number;
  readonly platforms: readonly string[];
  readonly schedule?: string;
  readonly running: boolean;
  readonly next?: string;
  readonly last?: Run;
};

type Event =
  | { readonly kind: 'begun' | 'joined'; readonly image: string }
  | { readonly kind: 'selected'; readonly image: string; readonly tags: readonly string[] }
  | {
      readonly kind: 'tag';
      readonly image: string;
      readonly tag: string;
      readonly result: string;
      readonly message?: string;
    }
  | ({ readonly kind: 'ended'; readonly image: string } & Run)
  | { readonly kind: 'done'; readonly runs: number; readonly failed: number };

/** Adds `entrepot sync`: how the scheduled images stand, or a run of them now. */
export function addSync(program: Command): void {
  const command = program
    .command('sync')
    .description(
      'show the images that are fetched on a schedule and how their last runs went, or run them now',
    )
    .argument('[image...]', 'with --now: only these of the images under "sync" in the configuration')
    .option('--now', 'run them now, one after the other; exit 1 when anything could not be fetched')
    .option('--json', 'print JSON; with --now one event a line, as they come');
  addConfigOption(command).action(async (images: readonly string[], options: Options) => {
    if (images.length > 0 && options.now !== true) {
      command.error('error: images are named with --now only', { exitCode: 2 });
    }
    await runAdmin(options.config, (admin) =>
      options.now === true ? runNow(images, options, admin) : list(options, admin),
    );
  });
}

async function list(options: Options, { client, signal }: AdminWork): Promise<number> {
  const answer = await client.call({ method: 'GET', path: '/api/v1/sync' }, signal);
  const { entries } = answer as { entries: readonly Entry[] };
  if (options.json) printJson(answer);
  else if (entries.length === 0) process.stdout.write('nothing is synced: the configuration has no "sync"\n');
  else {
    const header = ['IMAGE', 'TAGS', 'PLATFORMS', 'SCHEDULE', 'NEXT', 'LAST', 'RESULT'];
    process.stdout.write(table(header, entries.map(entryRow)));
  }
  return 0;
}

async function runNow(
  images: readonly string[],
  options: Options,
  { client, signal }: AdminWork,
): Promise<number> {
  const body = images.length === 0 ? {} : { images };
  let failed = 0;
  for await (const value of client.stream({ method: 'POST', path: '/api/v1/sync', body }, signal)) {
    const event = value as Event;
    if (event.kind === 'done') failed = event.failed;
    process.stdout.write(options.json ? `${JSON.stringify(value)}\n` : eventText(event));
  }
  return failed > 0 ? 1 : 0;
}

function entryRow({ image, platforms, schedule, running, next, last, ...entry }: Entry): readonly string[] {
  const selection = [
    ...(entry.tags ?? []),
    ...(entry.semver === undefined ? [] : [entry.semver]),
    ...(entry.newest === undefined ? [] : [`newest ${entry.newest}`]),
  ];
  return [
    image,
    selection.join(', '),
    platforms.length === 0 ? 'all' : platforms.join(','),
    schedule ?? 'on demand',
    running ? 'running' : nextText(next),
    last === undefined ? 'never' : minuteText(last.startedAt),
    last === undefined ? '' : runText(last),
  ];
}

function nextText(next: string | undefined): string {
  if (next === undefined) return '-';
  return Date.parse(next) <= Date.now() ? 'due' : minuteText(next);
}

function minuteText(time: string): string {
  return time.replace(/:\d\d(?:\.\d+)?Z$/, 'Z');
}

function runText({ added, moved, unchanged, failed, stopped }: Run): string {
  const counts = [
    [added.length, 'added'],
    [moved.length, 'moved'],
    [unchanged.length, 'unchanged'],
    [failed.length, 'failed'],
  ] as const;
  const shown = counts.filter(([count]) => count > 0).map(([count, word]) => `${count} ${word}`);
  if (stopped !== undefined) shown.push('stopped early');
  return shown.length === 0 ? 'no tag matches' : shown.join(', ');
}

function eventText(event: Event): string {
  switch (event.kind) {
    case 'begun':
      return `${event.image}: asking for its tags\n`;
    case 'joined':
      return `${event.image}: being synced already, waiting for the end of that\n`;
    case 'selected':
      return event.tags.length === 0 ? '' : `${event.image}: ${event.tags.join(', ')}\n`;
    case 'tag':
      return `${event.image}:${event.tag} ${event.result}${event.message === undefined ? '' : `: ${event.message}`}\n`;
    case 'ended': {
      const { image, failed, stopped, requests, bytes } = event;
      const whole = failed.find(({ tag }) => tag === undefined);
      const why = whole?.message ?? stopped;
      const used = `${requests} requests, ${formatSize(bytes)}`;
      return `${image}: ${runText(event)} (${used})${why === undefined ? '' : `: ${why}`}\n`;
    }
    case 'done':
      return '';
    default:
      return event satisfies never;
  }
}
