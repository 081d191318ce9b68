import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { get as getPlain } from 'node:http';
import { get as getTls } from 'node:https';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';

/** A running server of any party. */
export type Server = {
  readonly name: string;
  readonly url: string;
  readonly pid: number;
  stop(): Promise<void>;
};

/** How to start one: `url` + `readyPath` must answer 200 (or 401) before it counts as started. */
export type ServerCommand = {
  name: string;
  command: string;
  args: string[];
  url: string;
  readyPath?: string;
  env?: Record<string, string>;
};

/**
 * One run's temporary directory and processes. Whatever way the run ends (return, exception, signal), the
 * processes are killed with their whole process group and the directory is removed.
 */
export class Sandbox {
  readonly dir = mkdtempSync(join(process.env['BENCH_DIR'] ?? tmpdir(), 'entrepot-bench-'));
  readonly #children = new Set<ChildProcess>();
  readonly #servers = new Set<Server>();
  #serial = 0;

  constructor() {
    process.once('exit', () => this.#destroy());
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
      process.once(signal, () => process.exit(130));
  }

  /** A path inside the directory that nothing uses yet. */
  path(name: string): string {
    this.#serial += 1;
    return join(this.dir, `${this.#serial}-${name}`);
  }

  /** Starts a server and waits until it answers; both its output streams go to one file. */
  async start(options: ServerCommand): Promise<Server> {
    const log = this.path(`${options.name}.log`);
    const output = openSync(log, 'a');
    const child = spawn(options.command, options.args, {
      stdio: ['ignore', output, output],
      detached: true,
      env: { ...process.env, ...options.env },
    });
    closeSync(output);
    this.#children.add(child);
    const exit = once(child, 'exit');
    await answers(options.url + (options.readyPath ?? '/v2/'), child, options.name, log);
    const { pid } = child;
    if (pid === undefined) throw new Error(`${options.name} has no process id`);
    const server: Server = {
      name: options.name,
      url: options.url,
      pid,
      stop: async () => {
        child.kill('SIGTERM');
        const force = setTimeout(() => killGroup(child), 5000);
        if (child.exitCode === null && child.signalCode === null) await exit;
        clearTimeout(force);
        killGroup(child);
        this.#children.delete(child);
        this.#servers.delete(server);
      },
    };
    this.#servers.add(server);
    return server;
  }

  /** Ends every server that still runs; the directory goes when this process exits. */
  async close(): Promise<void> {
    await Promise.all([...this.#servers].map((server) => server.stop()));
  }

  #destroy(): void {
    for (const child of this.#children) killGroup(child);
    rmSync(this.dir, { recursive: true, force: true, maxRetries: 3 });
  }
}

/** A loopback port that was free a moment ago. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  if (address === null || typeof address === 'string') throw new Error('no port');
  return address.port;
}

async function answers(url: string, child: ChildProcess, name: string, log: string): Promise<void> {
  const deadline = Date.now() + 20_000;
  while (child.exitCode === null && Date.now() < deadline) {
    // One that asks for a login has started, too; its certificate is our own.
    const status = await statusOf(url).catch(() => undefined);
    if (status === 200 || status === 401) return;
    await delay(20);
  }
  throw new Error(`${name} did not start: ${readFileSync(log, 'utf8').slice(-2000)}`);
}

function statusOf(url: string): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    const get = url.startsWith('https:') ? getTls : getPlain;
    get(url, { rejectUnauthorized: false, agent: false }, (response) => {
      resolve(response.resume().statusCode);
    }).on('error', reject);
  });
}

function killGroup(child: ChildProcess): void {
  try {
    if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL');
  } catch {
    // The group is gone already.
  }
}
