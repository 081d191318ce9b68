import type { Command } from 'commander';
import { formatSize } from '../../lib/units.ts';
import type { WarmEvent, WarmSummary } from '../../transfer/warm/warm-events.ts';
import { type AdminWork, runAdmin } from '../admin/admin-command.ts';
import { addConfigOption } from '../config-option.ts';
import { addImages, addPlatforms, type ImageSources, readImages, requireImages } from '../image-arguments.ts';
import { ProgressBars } from '../progress.ts';

type Options = ImageSources & {
  readonly platform?: readonly string[];
  readonly referrers: boolean;
  readonly json?: boolean;
  readonly config?: string;
};

/** Adds `entrepot warm`: fetches images before anybody pulls them. */
export function addWarm(program: Command): void {
  const command = program
    .command('warm')
    .description(
      'fetch images ahead of those who will pull them; what is here already is not fetched again, and what was ' +
        'interrupted is continued. Exit code 1 when one is denied by policy or could not be fetched whole',
    );
  addPlatforms(addImages(command))
    .option('--no-referrers', 'leave signatures, SBOMs and attestations out')
    .option('--json', 'print what happens as JSON, one event a line');
  addConfigOption(command).action(async (names: readonly string[], options: Options) => {
    requireImages(command, names, options);
    await runAdmin(options.config, async (admin) => {
      return warm(await readImages(names, options), options, admin);
    });
  });
}

async function warm(
  images: readonly string[],
  { platform: platforms = [], referrers, json }: Options,
  { client, signal }: AdminWork,
): Promise<number> {
  const started = Date.now();
  const body = { images, platforms, referrers };
  const view = new WarmView(new ProgressBars({ output: process.stderr, now: Date.now }));
  let summary: WarmSummary | undefined;
  try {
    for await (const line of client.stream({ method: 'POST', path: '/api/v1/warm', body }, signal)) {
      const event = line as WarmEvent;
      if (event.kind === 'done') summary = event;
      if (json) process.stdout.write(`${JSON.stringify(event)}\n`);
      else view.show(event);
    }
  } finally {
    view.close();
  }
  if (summary === undefined)
    throw new Error('the server ended without saying how it went: its log may say why');
  if (!json) process.stdout.write(summaryText(summary, Date.now() - started));
  return summary.failed + summary.denied === 0 ? 0 : 1;
}

/** Shows events as bars, and what ended as lines above them. */
class WarmView {
  readonly #bars: ProgressBars;
  readonly #blobs = new Map<string, { arrived: number; size: number }>();

  constructor(bars: ProgressBars) {
    this.#bars = bars;
  }

  show(event: WarmEvent): void {
    if (event.kind === 'blob') this.#blob(event);
    if (event.kind === 'end') {
      this.#bars.above(() => {
        process.stdout.write(endText(event));
        for (const warning of event.warnings) process.stderr.write(`  note: ${warning}\n`);
      });
    }
  }

  close(): void {
    this.#bars.close();
  }

  #blob({ digest, image, role, size, arrived, state }: Extract<WarmEvent, { kind: 'blob' }>): void {
    if (state !== 'waiting' || !this.#blobs.has(digest)) {
      this.#blobs.set(digest, { arrived: state === 'failed' ? 0 : arrived, size });
    }
    if (state === 'arriving') {
      const label = `${shortName(image)} ${role} ${digest.slice(7, 15)}`;
      this.#bars.set(digest, { label, done: arrived, total: size });
    } else if (state !== 'waiting') {
      this.#bars.remove(digest);
    }
    const blobs = [...this.#blobs.values()];
    const done = sum(blobs.map((blob) => blob.arrived));
    this.#bars.setTotal({ label: 'total', done, total: sum(blobs.map((blob) => blob.size)) });
  }
}

function endText(event: Extract<WarmEvent, { kind: 'end' }>): string {
  const { image, result, message, fetched, bytes } = event;
  const what = result.padEnd(9);
  if (message !== undefined) return `${what}  ${image}: ${message}\n`;
  return result === 'warmed' && fetched > 0
    ? `${what}  ${image}  ${counted(fetched)}, ${formatSize(bytes)}\n`
    : `${what}  ${image}\n`;
}

function summaryText(
  { warmed, unchanged, denied, failed, fetched, bytes }: WarmSummary,
  took: number,
): string {
  const all = warmed + unchanged + denied + failed;
  const counts = Object.entries({ warmed, unchanged, denied, failed }).filter(([, count]) => count > 0);
  const what = counts.map(([name, count]) => `${count} ${name}`).join(', ');
  const rate = took > 0 ? `, ${formatSize(Math.round((bytes * 1000) / took))}/s` : '';
  const got = fetched === 0 ? 'nothing fetched' : `${counted(fetched)}, ${formatSize(bytes)}${rate}`;
  return `${all === 1 ? '1 image' : `${all} images`}: ${what}; ${got} in ${(took / 1000).toFixed(1)}s\n`;
}

function counted(fetched: number): string {
  return `${fetched} part${fetched === 1 ? '' : 's'} fetched`;
}

function shortName(image: string): string {
  return image.slice(image.lastIndexOf('/') + 1).replace(/@sha256:([0-9a-f]{8}).*/, '@$1');
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((all, each) => all + each, 0);
}
