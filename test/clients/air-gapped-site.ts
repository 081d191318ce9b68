import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import type { TestContext } from 'vitest';
import { startDockerEngine } from './docker-engine.ts';
import { type Daemon, type Finished, run, startDaemon } from './process.ts';
import { programs } from './sandbox.ts';

/**
 * A place whose only network is its own loopback: a network namespace in which nothing else was ever put. It and its
 * mounts end with the first process in it, so nothing outlives a test.
 */
export type Site = {
  /** Where its `config.yaml` and `storage` are. */
  readonly directory: string;
  /** Wraps a command so that it runs at the site. */
  inside(command: readonly string[]): string[];
  /** Runs the command line at the site, whatever its exit code. */
  entrepot(...args: string[]): Promise<Finished>;
  /** Begins an import from standard input, which gets what it is given. */
  importFed(): FedImport;
  /** Starts the server, at {@link siteServer}. */
  serve(settings: { readonly offline: boolean }): Promise<SiteServer>;
  /** Starts a dockerd that has the server in `registry-mirrors`. */
  startDocker(): Promise<SiteDocker>;
};

/** The server at a site. */
export type SiteServer = {
  /** The lines of its log, and why it ended. */
  log(): string;
  /** SIGKILL, and waits for the end. */
  kill(): Promise<void>;
  stop(): Promise<void>;
  /**
   * The calls by which it tried to reach an Internet address, as the kernel saw them in all its threads. Complete once
   * it has ended.
   */
  dialled(): Promise<string[]>;
};

/** A dockerd at a site. */
export type SiteDocker = {
  /** Runs `docker`, whatever its exit code. */
  docker(...args: string[]): Promise<Finished>;
  /** Forgets an image, pulls it, runs it, and returns what it prints. */
  pullAndRun(reference: string): Promise<string>;
};

/** An import that has not got all of its archive yet. */
export type FedImport = {
  /** Gives it bytes; resolves when they were taken. */
  give(bytes: Uint8Array): Promise<void>;
  /** Resolves once it told that a blob of so many bytes is stored. */
  stored(size: number): Promise<void>;
  /** No more comes; resolves with how it ended. */
  end(): Promise<Finished>;
  /** How it ended, though more could have come. */
  ended(): Promise<Finished>;
};

/** Where the server of a site listens: nobody else is there. */
export const siteServer = '127.0.0.1:5000';

const main = path.join(import.meta.dirname, '../../src/main.ts');
const timeout = 600_000;

/** Makes a site. @param options.disk the size of the disk under its storage in MB; the machine's own when left out */
export async function openSite(
  test: TestContext,
  directory: string,
  { disk }: { readonly disk?: number } = {},
): Promise<Site> {
  const storage = path.join(directory, 'storage');
  await mkdir(storage, { recursive: true });
  const mount = disk === undefined ? ':' : `mount -t tmpfs -o size=${disk}m tmpfs '${storage}'`;
  const script = `ip link set lo up; ${mount}; echo "ready: $$"; exec sleep infinity`;
  const separate = ['unshare', '--net', '--mount', '--propagation', 'private'];
  const holder = startDaemon([...separate, 'sh', '-euc', script]);
  test.onTestFinished(holder.kill);
  const [, pid = ''] = await holder.waitFor(/^ready: (\d+)$/m);
  const enter = ['nsenter', '--target', pid, '--net', '--mount', '--'];
  const inside = (command: readonly string[]) => [...enter, ...command];
  const config = path.join(directory, 'config.yaml');
  const commandLine = (...args: string[]) => [process.execPath, main, ...args, '--config', config];
  return {
    directory,
    inside,
    entrepot: (...args) => run(inside(commandLine(...args)), { timeout }),
    importFed: () => feed(test, inside(commandLine('import', '-', '--json'))),
    serve: async ({ offline }) => {
      await writeFile(config, `listen: ${siteServer}\noffline: ${offline}\nstorage: {path: ./storage}\n`);
      const server = await startTraced(inside, commandLine('serve'), path.join(directory, 'calls'));
      test.onTestFinished(server.stop);
      return server;
    },
    startDocker: () => startDocker(test, enter, path.join(directory, 'docker')),
  };
}

/** Starts the server with a tracer beside it that writes down what it sends where. */
async function startTraced(
  inside: Site['inside'],
  command: readonly string[],
  calls: string,
): Promise<SiteServer> {
  const sending = ['-e', 'trace=connect,sendto,sendmsg,sendmmsg', '-e', 'signal=none'];
  // -D: signals reach the server itself, and the tracer holds its output open until all calls are written.
  const tracer = [programs.strace, '-D', '-f', '-qq', '--seccomp-bpf', ...sending, '-o', calls];
  const daemon = startDaemon(inside([...tracer, ...command]));
  await daemon.waitFor(/"msg":"listening"/);
  return {
    log: daemon.output,
    kill: () => ending(daemon, daemon.kill),
    stop: () => ending(daemon, daemon.stop),
    dialled: async () => {
      const lines = (await readFile(calls, 'utf8')).split('\n');
      return lines.filter((line) => /\bAF_INET6?\b/.test(line));
    },
  };
}

async function ending(daemon: Daemon, end: () => Promise<void>): Promise<void> {
  if (!daemon.exited()) await end();
}

async function startDocker(
  test: TestContext,
  enter: readonly string[],
  directory: string,
): Promise<SiteDocker> {
  await mkdir(directory);
  const settings = { 'registry-mirrors': [`http://${siteServer}`] };
  const engine = await startDockerEngine('d28', directory, { settings, around: { enter } });
  test.onTestFinished(engine.stop);
  return {
    docker: (...args) => engine.run(args, { timeout }),
    pullAndRun: async (reference) => {
      await engine.run(['image', 'rm', '--force', reference]);
      await engine.mustRun(['pull', reference], { timeout });
      const ran = await engine.mustRun(['run', '--rm', '--network', 'none', reference], { timeout });
      return ran.stdout.trim();
    },
  };
}

function feed(test: TestContext, command: readonly string[]): FedImport {
  const [file = '', ...args] = command;
  const child: ChildProcess = spawn(file, args, { stdio: 'pipe' });
  test.onTestFinished(() => void child.kill('SIGKILL'));
  const { stdin, stdout, stderr } = child;
  if (stdin === null || stdout === null || stderr === null) throw new Error('three pipes were asked for');
  // An import that ended does not read on: that is told by how it ended.
  stdin.on('error', () => undefined);
  let said = '';
  let complained = '';
  stdout.setEncoding('utf8').on('data', (piece: string) => {
    said += piece;
  });
  stderr.setEncoding('utf8').on('data', (piece: string) => {
    complained += piece;
  });
  const closed = once(child, 'close');
  const ended = async (): Promise<Finished> => {
    const [code] = (await closed) as [number | null];
    return { command: command.join(' '), code: code ?? undefined, stdout: said, stderr: complained };
  };
  return {
    give: (bytes) => new Promise((resolve) => void stdin.write(bytes, () => resolve())),
    stored: (size) => {
      return new Promise((resolve, reject) => {
        const look = () => {
          if (said.includes(`"size":${size},"state":"stored"`)) resolve();
        };
        stdout.on('data', look);
        closed.then(() => reject(new Error(`the import ended: ${said}${complained}`)), reject);
        look();
      });
    },
    end: () => {
      stdin.end();
      return ended();
    },
    ended,
  };
}
