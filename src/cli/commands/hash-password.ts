import type { Command } from 'commander';
import { reportFailure } from '../admin/admin-command.ts';
import { readSecret } from '../hidden-input.ts';

/** Adds `entrepot hash-password`: makes the hash that `access.users` takes. */
export function addHashPassword(program: Command): void {
  program
    .command('hash-password')
    .description('hash a password (bcrypt) for access.users.<name>.passwordHash or an htpasswd file')
    .addHelpText(
      'after',
      '\nThe password is asked for on a terminal, else read from standard input; it is never an argument, where\nother users of the machine could see it.',
    )
    .action(async () => {
      process.exitCode = await reportFailure(async () => {
        const password = await readSecret(process.stdin, process.stderr);
        const { hashPassword } = await import('../../app.ts');
        process.stdout.write(`${await hashPassword(password)}\n`);
        return 0;
      });
    });
}
