import type { Config } from '../../config/config.ts';
import { loadChosenConfig } from '../config-option.ts';
import { type AdminClient, connectAdmin } from './admin-client.ts';

/** What a command works with. */
export type AdminWork = {
  readonly client: AdminClient;
  readonly config: Config;
  /** Aborts when the user interrupts. */
  readonly signal: AbortSignal;
};

/**
 * Runs a command that needs the admin API, and sets the process's exit code: what `work` resolves to, or 1 when it
 * fails or the configuration is wrong; the reason is on standard error then. Ctrl-C aborts the signal; a second one
 * ends the process.
 * @param options.missingLockfile lets the configuration name a lock file that is yet to be written
 */
export async function runAdmin(
  flag: string | undefined,
  work: (admin: AdminWork) => Promise<number>,
  options: { readonly missingLockfile?: 'empty' } = {},
): Promise<void> {
  const interrupt = new AbortController();
  const onInterrupt = () => interrupt.abort(new Error('interrupted'));
  process.once('SIGINT', onInterrupt);
  process.exitCode = await reportFailure(async () => {
    const chosen = loadChosenConfig(flag, options);
    if (chosen === undefined) return 1;
    const client = await connectAdmin(chosen.config);
    try {
      return await work({ client, config: chosen.config, signal: interrupt.signal });
    } finally {
      await client.close();
    }
  });
  process.off('SIGINT', onInterrupt);
}

/** Runs `work`; a failure is told on standard error and becomes exit code 1. */
export async function reportFailure(work: () => Promise<number>): Promise<number> {
  try {
    return await work();
  } catch (error) {
    process.stderr.write(`entrepot: ${error instanceof Error ? error.message : String(error)}\n`);
    return 1;
  }
}

/** Prints a value as JSON that people can read too. */
export function printJson(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value, undefined, 2)}\n`);
}
