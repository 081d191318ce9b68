import type { Command } from 'commander';
import { loadChosenConfig } from '../config-option.ts';

/** Adds `entrepot check`: exit code 0 when the configuration is valid, 1 when it is not. */
export function addCheck(program: Command): void {
  program
    .command('check')
    .description('check a configuration file and report every problem with its path and line')
    .argument('[file]', 'configuration file; else $ENTREPOT_CONFIG, else ./config.yaml, else the defaults')
    .action(async (asked: string | undefined) => {
      const { ruleFault } = await import('../../app.ts');
      const chosen = loadChosenConfig(asked, { ruleFault });
      if (chosen === undefined) {
        process.exitCode = 1;
        return;
      }
      const registries = Object.keys(chosen.config.registries).join(', ');
      process.stdout.write(`${chosen.file ?? 'the defaults'}: valid; registries: ${registries}\n`);
    });
}
