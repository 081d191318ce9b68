import { Command } from 'commander';
import { version } from '../lib/version.ts';
import { addCheck } from './check.ts';
import { addExport } from './export.ts';
import { addHashPassword } from './hash-password.ts';
import { addHistory } from './history.ts';
import { addImport } from './import.ts';
import { addLock } from './lock.ts';
import { addRollback } from './rollback.ts';
import { addSchema } from './schema.ts';
import { addServe } from './serve.ts';
import { addStatus } from './status.ts';
import { addSync } from './sync.ts';
import { addVerify } from './verify.ts';
import { addWarm } from './warm.ts';

/**
 * The command line. Exit codes: 0 done, 1 it failed or something differs, 2 wrong usage.
 * @param exit ends the process, after help (0) and wrong usage (2); commands that ran set `process.exitCode`
 */
export function createProgram(exit: (code: number) => never): Command {
  const program = new Command('entrepot')
    .description(
      'A pull-through caching OCI registry mirror: one download per blob, verified while it streams.',
    )
    .version(version)
    .showHelpAfterError()
    // Commander's own code for wrong usage is 1, which here means that a command failed.
    .exitOverride(({ exitCode }) => exit(exitCode === 1 ? 2 : exitCode));
  addServe(program);
  addCheck(program);
  addWarm(program);
  addStatus(program);
  addVerify(program);
  addExport(program);
  addImport(program);
  addHistory(program);
  addRollback(program);
  addLock(program);
  addSync(program);
  addHashPassword(program);
  addSchema(program);
  return program;
}
