import { type Command, InvalidArgumentError } from 'commander';
import { formatSize, parseSize } from '../../lib/units.ts';
import type { ScrubEvent, ScrubSummary } from '../../transfer/images/scrub.ts';
import { type AdminWork, runAdmin } from '../admin/admin-command.ts';
import { addConfigOption } from '../config-option.ts';
import { ProgressBars } from '../progress.ts';

type Options = { readonly rate: number; readonly json?: boolean; readonly config?: string };

/** Adds `entrepot verify`: reads all that is stored once more. */
export function addVerify(program: Command): void {
  const command = program
    .command('verify')
    .description(
      'read everything that is stored and compare it with its digest. What is wrong is set aside, so that it is ' +
        'fetched again when it is asked for. Exit code 1 when anything was',
    )
    .option(
      '--rate <size>',
      'read at most this much a second, so that clients do not notice; 0: as fast as the disk allows',
      (text: string) => {
        const size = parseSize(text);
        if (size === undefined) throw new InvalidArgumentError('Write it as 100MiB.');
        return size;
      },
      100 * 1024 * 1024,
    )
    .option('--json', 'print what happens as JSON, one event a line');
  addConfigOption(command).action((options: Options) => {
    return runAdmin(options.config, (admin) => verify(options, admin));
  });
}

async function verify({ rate, json }: Options, { client, signal }: AdminWork): Promise<number> {
  const bars = new ProgressBars({ output: process.stderr, now: Date.now });
  let summary: ScrubSummary | undefined;
  try {
    const request = { method: 'POST', path: '/api/v1/verify', body: { rate } } as const;
    for await (const line of client.stream(request, signal)) {
      const event = line as ScrubEvent;
      if (event.kind === 'done') summary = event;
      if (json) process.stdout.write(`${JSON.stringify(event)}\n`);
      else show(event, bars);
    }
  } finally {
    bars.close();
  }
  if (summary === undefined)
    throw new Error('the server ended without saying how it went: its log may say why');
  const { checked, bytes, wrong } = summary;
  if (!json) {
    const verdict = wrong === 0 ? 'all as it should be' : `${wrong} wrong`;
    process.stdout.write(`${checked} manifests and blobs read, ${formatSize(bytes)}: ${verdict}\n`);
  }
  return wrong === 0 ? 0 : 1;
}

function show(event: ScrubEvent, bars: ProgressBars): void {
  if (event.kind === 'progress') {
    bars.setTotal({ label: `${event.checked} checked`, done: event.bytes, total: event.of.bytes });
  }
  if (event.kind === 'wrong') {
    const { what, digest, problem, message } = event;
    bars.above(() => process.stdout.write(`${problem.padEnd(10)}  ${what} ${digest}: ${message}\n`));
  }
}
