import type { Command } from 'commander';
import { printJson, runAdmin } from '../admin/admin-command.ts';
import { addConfigOption } from '../config-option.ts';
import { splitTag } from '../image-argument.ts';
import { table } from '../table.ts';

type Moves = {
  readonly image: string;
  readonly moves: readonly {
    readonly at: string;
    readonly tag: string;
    readonly old?: string;
    readonly new: string;
    readonly upstream: string;
    readonly action: string;
  }[];
};

/** Adds `entrepot history`: what became of an image's tags. */
export function addHistory(program: Command): void {
  const command = program
    .command('history')
    .description('show when the tags of an image moved, from which digest to which, newest first')
    .argument('<image[:tag]>', 'such as python, ghcr.io/org/app or ghcr.io/org/app:v1')
    .option('--json', 'print JSON instead of a table');
  addConfigOption(command).action((name: string, options: { json?: boolean; config?: string }) => {
    return runAdmin(options.config, async ({ client, signal }) => {
      const { image, tag } = splitTag(name);
      const answer = await client.call(
        { method: 'GET', path: '/api/v1/history', query: { image, tag } },
        signal,
      );
      if (options.json) printJson(answer);
      else process.stdout.write(historyText(answer as Moves));
      return 0;
    });
  });
}

function historyText({ image, moves }: Moves): string {
  if (moves.length === 0) return `nothing is recorded of ${image}: no tag of it was pulled through here\n`;
  const rows = moves.map((move) => {
    const by = move.upstream === '' ? '(here)' : move.upstream;
    return [move.at.replace(/\.\d+Z$/, 'Z'), move.tag, move.action, move.old ?? '-', move.new, by];
  });
  return `${image}\n${table(['WHEN', 'TAG', 'WHAT', 'FROM', 'TO', 'BY'], rows)}`;
}
