import type { Command } from 'commander';
import { runAdmin } from '../admin/admin-command.ts';
import { addConfigOption } from '../config-option.ts';
import { splitTag } from '../image-argument.ts';

type Options = { to?: string; release?: boolean; config?: string };

/** Adds `entrepot rollback`: serves a tag as an earlier digest, or leaves it to upstream again. */
export function addRollback(program: Command): void {
  const command = program
    .command('rollback')
    .description('serve a tag as a digest that is still stored, whatever upstream says, until it is released')
    .argument('<image:tag>', 'such as python:3.12 or ghcr.io/org/app:v1')
    .option('--to <digest>', 'the digest to serve, whole: sha256:...; "entrepot history" lists them')
    .option('--release', 'leave the tag to upstream again');
  addConfigOption(command).action(async (name: string, options: Options) => {
    const { image, tag } = splitTag(name);
    if (tag === undefined) command.error(`error: ${name} has no tag: say which, as in ${name}:1.0`, usage);
    if ((options.to === undefined) !== (options.release === true)) {
      command.error('error: give either --to <digest> or --release', usage);
    }
    await runAdmin(options.config, async ({ client, signal }) => {
      const { to: digest } = options;
      const request =
        digest === undefined
          ? ({ method: 'DELETE', path: '/api/v1/pins', body: { image, tag } } as const)
          : ({ method: 'POST', path: '/api/v1/rollback', body: { image, tag, digest } } as const);
      const done = (await client.call(request, signal)) as { image: string; tag: string };
      const served = `${done.image}:${done.tag}`;
      process.stdout.write(
        digest === undefined
          ? `${served} follows upstream again\n`
          : `${served} is served as ${digest}; to undo: entrepot rollback ${name} --release\n`,
      );
      return 0;
    });
  });
}

/** How commander ends the process on wrong usage. */
const usage = { exitCode: 2 };
