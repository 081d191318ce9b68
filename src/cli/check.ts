import type { Command } from 'commander';
import { loadConfig, resolveConfigFile } from '../config/load.ts';
import { reportConfigProblems } from './config-problems.ts';

/** Adds `entrepot check`: exit code 0 when the configuration is valid, 1 when it is not. */
export function addCheck(program: Command): void {
  program
    .command('check')
    .description('check a configuration file and report every problem with its path and line')
    .argument('[file]', 'configuration file; else $ENTREPOT_CONFIG, else ./config.yaml, else the defaults')
    .action((file: string | undefined) => {
      const cwd = process.cwd();
      const found = resolveConfigFile({ flag: file, env: process.env, cwd });
      const config = reportConfigProblems(() => loadConfig({ file: found, env: process.env, cwd }));
      if (config === undefined) {
        process.exitCode = 1;
        return;
      }
      const registries = Object.keys(config.registries).join(', ');
      process.stdout.write(`${found ?? 'the defaults'}: valid; registries: ${registries}\n`);
    });
}
