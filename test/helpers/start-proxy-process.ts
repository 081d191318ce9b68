import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { open, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { onTestFailed, onTestFinished } from 'vitest';
import { within } from './gate.ts';
import { filesUnder, type StorageFiles, storageFiles } from './leaks.ts';
import { type ConfigOptions, configFileText, makeConfig } from './proxy-config.ts';
import { temporaryDirectory } from './start-proxy.ts';

/** A server in a process of its own, to be killed. */
export type ProxyProcess = {
  readonly url: string;
  readonly storagePath: string;
  /** What it wrote to standard output, line by line. */
  readonly output: string[];
  files(): StorageFiles;
  /** Sends a signal and waits for the end; returns the exit code, or the name of the signal that ended it. */
  kill(signal: 'SIGKILL' | 'SIGTERM' | 'SIGINT'): Promise<number | string>;
  /** Sends a signal without waiting. */
  signal(signal: 'SIGTERM' | 'SIGINT'): void;
  /** Waits for the end. */
  ended(): Promise<number | string>;
  /** Starts it again on the same storage; the one before stays reachable when that fails. */
  start(): Promise<void>;
  /** Flips one byte of every file below a folder of the storage. */
  damage(folder: string, offset: number): Promise<void>;
};

const main = new URL('../../src/main.ts', import.meta.url).pathname;

/** Starts `entrepot serve` as a child process that ends with the test. */
export async function startProxyProcess(options: ConfigOptions = {}): Promise<ProxyProcess> {
  const directory = await temporaryDirectory();
  const storagePath = join(directory, 'storage');
  const configPath = join(directory, 'config.yaml');
  await writeFile(configPath, configFileText(makeConfig(storagePath, options)));
  const output: string[] = [];
  let child = spawnServer(configPath, output);
  let port = await child.listening;
  onTestFailed(() => console.log(`what the server wrote:\n${output.join('\n')}`));
  return {
    get url() {
      return `http://127.0.0.1:${port}`;
    },
    storagePath,
    output,
    files: () => storageFiles(storagePath),
    kill(signal) {
      child.process.kill(signal);
      return child.ended;
    },
    signal(signal) {
      child.process.kill(signal);
    },
    ended: () => child.ended,
    async start() {
      const next = spawnServer(configPath, output);
      port = await next.listening;
      child = next;
    },
    async damage(folder, offset) {
      const files = filesUnder(join(storagePath, folder));
      for (const file of files) await flipByte(join(storagePath, folder, file), offset);
      if (files.length === 0) throw new Error(`nothing to damage in ${folder}`);
    },
  };
}

async function flipByte(path: string, offset: number): Promise<void> {
  const file = await open(path, 'r+');
  try {
    const { buffer } = await file.read(Buffer.alloc(1), 0, 1, offset);
    await file.write(Buffer.from([(buffer[0] ?? 0) ^ 0xff]), 0, 1, offset);
  } finally {
    await file.close();
  }
}

type Server = { process: ChildProcess; listening: Promise<number>; ended: Promise<number | string> };

/** Starts a server that ends with the test, if not before. */
function spawnServer(configPath: string, output: string[]): Server {
  const child = spawn(process.execPath, [main, 'serve', '--config', configPath], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const ended = once(child, 'exit').then(([code, signal]) => (code ?? signal) as number | string);
  // Before it listens too: a test that gives up waiting leaves no server behind.
  onTestFinished(async () => {
    child.kill('SIGKILL');
    await ended;
  });
  child.stderr.on('data', (chunk) => output.push(String(chunk)));
  const listening = new Promise<number>((resolve, reject) => {
    createInterface({ input: child.stdout }).on('line', (line) => {
      output.push(line);
      const port = listeningPort(line);
      if (port !== undefined) resolve(port);
    });
    ended.then((code) =>
      reject(new Error(`the server ended with ${code} before it listened:\n${output.join('\n')}`)),
    );
  });
  return { process: child, listening: within(listening, () => `listening:\n${output.join('\n')}`), ended };
}

function listeningPort(line: string): number | undefined {
  try {
    const { msg, port } = JSON.parse(line) as { msg?: string; port?: number };
    return msg === 'listening' ? port : undefined;
  } catch {
    return undefined;
  }
}
