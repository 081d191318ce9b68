import { Command } from 'commander';
import { version } from '../lib/version.ts';
import { addCheck } from './commands/check.ts';
import { addExport } from './commands/export.ts';
import { addHashPassword } from './commands/hash-password.ts';
import { addHistory } from './commands/history.ts';
import { addImport } from './commands/import.ts';
import { addLock } from './commands/lock.ts';
import { addRollback } from './commands/rollback.ts';
import { addSchema } from './commands/schema.ts';
import { addServe } from './commands/serve.ts';
import { addStatus } from './commands/status.ts';
import { addSync } from './commands/sync.ts';
import { addVerify } from './commands/verify.ts';
import { addWarm } from './commands/warm.ts';

/**
 * The command line. Exit codes: 0 done, 1 it failed or something differs, 2 wrong usage.
 * @param exit ends the process: after help (0), wrong usage (2), and a server that failed (1). Other commands set
 *   `process.exitCode`
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
  addServe(program, exit);
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
