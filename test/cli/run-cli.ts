import { spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { onTestFinished, vi } from 'vitest';
import { createProgram } from '../../src/cli/program.ts';
import { adminRoutes } from '../../src/http/admin/admin.ts';
import { ControlServer } from '../../src/http/server/control-server.ts';
import { silentLog } from '../../src/lib/log.ts';
import { SocketFile } from '../../src/store/disk/socket-file.ts';
import { temporaryDirectory } from '../helpers/start-proxy.ts';
import { scriptedOperations } from '../http/admin/admin-scene.ts';

/** What a command left behind. */
export type CliResult = { readonly code: number | null; readonly stdout: string; readonly stderr: string };

const main = new URL('../../src/main.ts', import.meta.url).pathname;

/** Runs `entrepot` in a process of its own, in `cwd`, with `stdin` as its input. */
export function spawnCli(
  args: readonly string[],
  { cwd, stdin = '' }: { cwd: string; stdin?: string },
): Promise<CliResult> {
  const { ENTREPOT_CONFIG: _unset, ...env } = process.env;
  const child = spawn(process.execPath, [main, ...args], { cwd, env });
  onTestFinished(() => {
    child.kill('SIGKILL');
  });
  let [stdout, stderr] = ['', ''];
  child.stdout.on('data', (chunk) => {
    stdout += String(chunk);
  });
  child.stderr.on('data', (chunk) => {
    stderr += String(chunk);
  });
  child.stdin.on('error', () => {});
  child.stdin.end(stdin);
  return new Promise((resolve) => child.once('close', (code) => resolve({ code, stdout, stderr })));
}

class Exit extends Error {
  readonly exitCode: number;

  constructor(exitCode: number) {
    super(`exit ${exitCode}`);
    this.exitCode = exitCode;
  }
}

/** As {@link spawnCli}, but in this process, which is a hundred times as fast: its globals stand in for a while. */
export async function runCli(
  args: readonly string[],
  { cwd, stdin = '' }: { cwd: string; stdin?: string },
): Promise<CliResult> {
  let [stdout, stderr] = ['', ''];
  const spies = [
    vi.spyOn(process, 'stdin', 'get').mockReturnValue(Readable.from([stdin]) as typeof process.stdin),
    vi.spyOn(process.stdout, 'write').mockImplementation((chunk) => {
      stdout += String(chunk);
      return true;
    }),
    vi.spyOn(process.stderr, 'write').mockImplementation((chunk) => {
      stderr += String(chunk);
      return true;
    }),
  ];
  vi.stubEnv('ENTREPOT_CONFIG', undefined);
  const before = process.cwd();
  process.chdir(cwd);
  const exit = (code: number): never => {
    throw new Exit(code);
  };
  try {
    await createProgram(exit).parseAsync(args, { from: 'user' });
    return { code: Number(process.exitCode ?? 0), stdout, stderr };
  } catch (error) {
    if (!(error instanceof Exit)) throw error;
    return { code: error.exitCode, stdout, stderr };
  } finally {
    process.exitCode = undefined;
    process.chdir(before);
    vi.unstubAllEnvs();
    for (const spy of spies) spy.mockRestore();
  }
}

/**
 * A folder with a config.yaml of the defaults, and a server of scripted operations on its storage's control socket.
 */
export async function commandScene(options: { listening?: boolean } = {}) {
  const folder = await temporaryDirectory();
  writeFileSync(join(folder, 'config.yaml'), 'storage: {path: .}\n');
  const { operations, asked } = scriptedOperations();
  const names = { defaultRegistry: 'docker.io', registries: ['docker.io', 'ghcr.io'] };
  const routes = adminRoutes({ operations, log: silentLog }, names);
  const file = new SocketFile(join(folder, 'control.sock'));
  const server = new ControlServer(
    { current: () => ({ control: routes }), file, log: silentLog },
    { drainTimeout: 1_000 },
  );
  onTestFinished(() => server.close());
  if (options.listening !== false) await server.start();
  const run = (args: readonly string[], stdin = '') => runCli(args, { cwd: folder, stdin });
  const spawned = (args: readonly string[], stdin = '') => spawnCli(args, { cwd: folder, stdin });
  return { folder, asked, run, spawned };
}
