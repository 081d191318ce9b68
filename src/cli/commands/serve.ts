import type { Command } from 'commander';
import type { Entrepot } from '../../app.ts';
import { openLog } from '../../lib/log.ts';
import { addConfigOption, loadChosenConfig } from '../config-option.ts';

/**
 * Adds `entrepot serve`: runs the mirror until SIGTERM or SIGINT, then drains, after its drain delay. Exit code 1 when
 * it cannot start, or when something could not be closed.
 */
export function addServe(program: Command, exit: (code: number) => never): void {
  const command = program
    .command('serve', { isDefault: true })
    .description('run the mirror (the default command)');
  addConfigOption(command).action(async (options: { config?: string }) => {
    const code = await serve(options.config);
    // What could not be closed would keep the process alive.
    if (code !== 0) exit(code);
  });
}

async function serve(flag: string | undefined): Promise<number> {
  // Loaded here, since the commands that only talk to a server start in half the time without it.
  const { createEntrepot, ruleFault } = await import('../../app.ts');
  const chosen = loadChosenConfig(flag, { ruleFault });
  if (chosen === undefined) return 1;
  const { config, file } = chosen;
  const { log, flush } = openLog(config.log);
  // A rejection nobody handled is a defect, but one request's: it is told, and the others go on.
  process.on('unhandledRejection', (reason) => {
    log.error(
      { cause: reason instanceof Error ? (reason.stack ?? reason.message) : String(reason) },
      'unhandled rejection',
    );
  });
  const stop = stopSignals(['SIGTERM', 'SIGINT']);
  const failed = (error: unknown, what: string): number => {
    const { message, code } = error as NodeJS.ErrnoException;
    log.error({ cause: message, code, config: file }, what);
    process.stderr.write(`entrepot: ${what}: ${message}\n`);
    return 1;
  };
  try {
    let server: Entrepot;
    try {
      server = await createEntrepot(config, { log });
      await server.start();
    } catch (error) {
      return failed(error, 'cannot start');
    }
    const signal = await stop.first;
    log.info({ signal }, 'draining');
    try {
      await stop.interruptible((interrupted) => server.retire(interrupted));
      await server.close();
    } catch (error) {
      return failed(error, 'stopped with failures');
    }
    log.info({}, 'stopped');
    return 0;
  } finally {
    flush();
  }
}

/**
 * Listens to signals. The first asks to stop: `first` resolves to it. A later one ends what runs `interruptible` then,
 * or else the process at once.
 */
function stopSignals(names: readonly NodeJS.Signals[]): {
  readonly first: Promise<NodeJS.Signals>;
  interruptible(run: (interrupted: AbortSignal) => Promise<void>): Promise<void>;
} {
  const first = Promise.withResolvers<NodeJS.Signals>();
  let asked = false;
  let running: AbortController | undefined;
  for (const name of names) {
    process.on(name, () => {
      if (asked && running === undefined) process.exit(1);
      asked = true;
      first.resolve(name);
      running?.abort();
      running = undefined;
    });
  }
  return {
    first: first.promise,
    interruptible: async (run) => {
      running = new AbortController();
      await run(running.signal);
      running = undefined;
    },
  };
}
