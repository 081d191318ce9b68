import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import type { Readable } from 'node:stream';

/** How a command ended; `code` is undefined when a signal (or the timeout) ended it. */
export type Finished = {
  readonly command: string;
  readonly code: number | undefined;
  readonly stdout: string;
  readonly stderr: string;
};

/** Settings of one run: the command is killed after `timeout` milliseconds, or when the signal aborts. */
export type RunOptions = {
  readonly timeout?: number;
  /** What it reads; nothing unless told. */
  readonly input?: string;
  readonly signal?: AbortSignal | undefined;
  readonly env?: Readonly<Record<string, string>>;
};

/** A process that runs until it is stopped. */
export type Daemon = {
  /** Everything that it wrote so far, both streams. */
  output(): string;
  /** Whether it ended already. */
  exited(): boolean;
  /** Resolves with the first match of the pattern in the output; rejects when the process ends before, or late. */
  waitFor(pattern: RegExp, timeout?: number): Promise<RegExpExecArray>;
  /** SIGKILL, and waits for the end. */
  kill(): Promise<void>;
  /** SIGTERM to the process, SIGKILL ten seconds later; resolves when it ended. */
  stop(): Promise<void>;
};

const searchPath = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/**
 * Runs a command to its end, with nothing to read and a timeout of five minutes unless told.
 * Resolves whatever the exit code; rejects when the command cannot be started.
 */
export async function run(command: readonly string[], options: RunOptions = {}): Promise<Finished> {
  const child = launch(command, options.env, options.input === undefined ? 'ignore' : 'pipe');
  child.stdin?.end(options.input);
  const stdout = collect(child.stdout);
  const stderr = collect(child.stderr);
  const kill = () => child.kill('SIGKILL');
  const timer = setTimeout(kill, options.timeout ?? 300_000);
  options.signal?.addEventListener('abort', kill);
  try {
    const [code] = (await once(child, 'close')) as [number | null];
    return { command: command.join(' '), code: code ?? undefined, stdout: stdout(), stderr: stderr() };
  } finally {
    clearTimeout(timer);
    options.signal?.removeEventListener('abort', kill);
  }
}

/** As {@link run}, but rejects with both streams in the message when the exit code is not 0. */
export async function mustRun(command: readonly string[], options: RunOptions = {}): Promise<Finished> {
  const finished = await run(command, options);
  if (finished.code !== 0) throw new Error(describeFailure(finished));
  return finished;
}

/** A failed run as a readable text. */
export function describeFailure(finished: Finished): string {
  const { command, code, stdout, stderr } = finished;
  return `${command}\nexit code ${code ?? 'none (killed)'}\n${stdout}\n${stderr}`.trim();
}

/** Starts a process that goes on until stopped; it dies with this process at the latest. */
export function startDaemon(command: readonly string[], env?: Readonly<Record<string, string>>): Daemon {
  const child = launch(['setpriv', '--pdeathsig', 'KILL', '--', ...command], env);
  const stdout = collect(child.stdout);
  const stderr = collect(child.stderr);
  const output = () => stdout() + stderr();
  const exited = () => child.exitCode !== null || child.signalCode !== null;
  const closed = once(child, 'close');
  closed.catch(() => undefined);
  return {
    output,
    exited,
    waitFor: (pattern, timeout = 300_000) => waitFor(child, output, pattern, timeout),
    kill: async () => {
      child.kill('SIGKILL');
      await closed;
    },
    stop: async () => {
      const timer = setTimeout(() => child.kill('SIGKILL'), 10_000);
      for (const pid of await signalTargets(child)) process.kill(pid, 'SIGTERM');
      await closed;
      clearTimeout(timer);
    },
  };
}

function launch(
  command: readonly string[],
  env?: Readonly<Record<string, string>>,
  input: 'ignore' | 'pipe' = 'ignore',
): ChildProcess {
  const [file, ...args] = command;
  if (file === undefined) throw new Error('an empty command');
  return spawn(file, args, {
    stdio: [input, 'pipe', 'pipe'],
    env: { PATH: searchPath, HOME: '/root', LC_ALL: 'C.UTF-8', ...env },
  });
}

function collect(stream: Readable | null): () => string {
  let text = '';
  stream?.setEncoding('utf8').on('data', (piece: string) => {
    text += piece;
  });
  return () => text;
}

function waitFor(
  child: ChildProcess,
  output: () => string,
  pattern: RegExp,
  timeout: number,
): Promise<RegExpExecArray> {
  return new Promise((resolve, reject) => {
    const settle = (outcome: RegExpExecArray | string) => {
      clearTimeout(timer);
      child.stdout?.off('data', look);
      child.stderr?.off('data', look);
      child.off('close', onClose);
      if (typeof outcome !== 'string') resolve(outcome);
      else
        reject(new Error(`${outcome} before ${pattern} was seen in its output:\n${output().slice(-4000)}`));
    };
    const look = () => {
      const match = pattern.exec(output());
      if (match) settle(match);
    };
    const onClose = () => settle('the process ended');
    const timer = setTimeout(() => settle(`${timeout / 1000} s passed`), timeout);
    child.stdout?.on('data', look);
    child.stderr?.on('data', look);
    child.on('close', onClose);
    look();
  });
}

/** `unshare --fork` does not pass signals on: its child, the first process of the new namespace, gets them instead. */
async function signalTargets(child: ChildProcess): Promise<number[]> {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return [];
  const command = await readFile(`/proc/${child.pid}/comm`, 'utf8').catch(() => '');
  if (command.trim() !== 'unshare') return [child.pid];
  const children = await readFile(`/proc/${child.pid}/task/${child.pid}/children`, 'utf8').catch(() => '');
  return children.trim().split(' ').filter(Boolean).map(Number);
}
