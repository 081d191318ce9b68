import type { Command } from 'commander';
import type { Config } from '../config/config.ts';
import { type LoadOptions, loadConfig, resolveConfigFile } from '../config/load.ts';
import { reportConfigProblems } from './config-problems.ts';

/** Adds `-c, --config <file>` to a command. */
export function addConfigOption(command: Command): Command {
  return command.option(
    '-c, --config <file>',
    'configuration file; else $ENTREPOT_CONFIG, else ./config.yaml, else the defaults',
  );
}

/** Loads the configuration that `--config` asks for; `undefined` when it is wrong, after its problems were printed. */
export function loadChosenConfig(
  flag: string | undefined,
  options: Pick<LoadOptions, 'missingLockfile' | 'ruleFault'> = {},
): { readonly config: Config; readonly file: string | undefined } | undefined {
  const cwd = process.cwd();
  const file = resolveConfigFile({ flag, env: process.env, cwd });
  const config = reportConfigProblems(() => loadConfig({ ...options, file, env: process.env, cwd }));
  return config && { config, file };
}
