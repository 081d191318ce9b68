import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import type { FrontAnswer, FrontOptions, FrontRequest, Passed } from './front.ts';
import { type Daemon, startDaemon } from './process.ts';
import { programs } from './sandbox.ts';

/** A running registry: Debian's docker-registry, without authentication, on loopback. */
export type Registry = { readonly port: number; stop(): Promise<void> };

/** Starts a docker-registry that keeps its content under `directory`; rejects when it does not listen. */
export async function startRegistry(directory: string): Promise<Registry> {
  await mkdir(directory, { recursive: true });
  const config = path.join(directory, 'config.json');
  // The registry reads YAML, of which JSON is a part.
  const settings = {
    version: '0.1',
    log: { level: 'info', accesslog: { disabled: true } },
    storage: { filesystem: { rootdirectory: path.join(directory, 'data') } },
    http: { addr: '127.0.0.1:0' },
  };
  await writeFile(config, JSON.stringify(settings));
  const daemon: Daemon = startDaemon([programs.registry, 'serve', config]);
  const listening = await daemon.waitFor(/listening on 127\.0\.0\.1:(\d+)/);
  return { port: Number(listening[1]), stop: daemon.stop };
}

/** One test's own, counted way to a registry: a server's upstream. */
export type Upstream = {
  readonly url: string;
  /** What was passed on since the start or the last {@link Upstream.forget}. */
  journal(): Promise<Traffic>;
  forget(): Promise<void>;
  /** From now on the registry is gone: each connection is reset, and each attempt counted. */
  goAway(): Promise<void>;
  /** Ends {@link Upstream.goAway}. */
  comeBack(): Promise<void>;
  /** Bytes a second over all blobs together. */
  throttle(rate: number): Promise<void>;
  /** Resolves once so many bytes of a blob were passed on. */
  reached(digest: string, bytes: number): Promise<void>;
  stop(): Promise<void>;
};

/** What went through one {@link Upstream}. */
export type Traffic = {
  readonly requests: readonly Passed[];
  /** Connections tried after {@link Upstream.goAway}. */
  readonly attempts: number;
  /** GET requests a blob, by digest. */
  readonly blobGets: ReadonlyMap<string, number>;
  /** Bytes of all blobs together. */
  readonly blobBytes: number;
};

/** Starts a counting proxy, in a process of its own, before the registry on `registryPort`. */
export async function startUpstream(
  registryPort: number,
  options: Omit<FrontOptions, 'registryPort'> = {},
): Promise<Upstream> {
  const settings: FrontOptions = { registryPort, ...options };
  const child = fork(path.join(import.meta.dirname, 'front.ts'), [JSON.stringify(settings)]);
  const [{ port }] = (await once(child, 'message')) as [{ port: number }];
  child.setMaxListeners(0);
  const ask = asker(child);
  return {
    url: `http://127.0.0.1:${port}`,
    journal: async () => trafficOf(await ask({ kind: 'journal' })),
    forget: async () => void (await ask({ kind: 'forget' })),
    goAway: async () => void (await ask({ kind: 'refuse' })),
    comeBack: async () => void (await ask({ kind: 'accept' })),
    throttle: async (rate) => void (await ask({ kind: 'throttle', rate })),
    reached: async (digest, bytes) => void (await ask({ kind: 'await', digest, bytes })),
    stop: async () => {
      if (child.exitCode !== null || child.signalCode !== null) return;
      child.kill('SIGKILL');
      await once(child, 'exit');
    },
  };
}

type Question = FrontRequest extends infer Each
  ? Each extends { id: number }
    ? Omit<Each, 'id'>
    : never
  : never;

function asker(child: ChildProcess): (question: Question) => Promise<FrontAnswer> {
  let last = 0;
  return (question) => {
    last += 1;
    const id = last;
    return new Promise((resolve, reject) => {
      const settle = (answer: FrontAnswer) => {
        if (answer.id !== id) return;
        child.off('message', settle);
        child.off('exit', onExit);
        resolve(answer);
      };
      const onExit = () => reject(new Error('the counting proxy ended'));
      child.on('message', settle);
      child.on('exit', onExit);
      child.send({ ...question, id });
    });
  };
}

function trafficOf(answer: FrontAnswer): Traffic {
  const blobGets = new Map<string, number>();
  let blobBytes = 0;
  for (const entry of answer.passed) {
    const digest = /\/blobs\/(sha256:[0-9a-f]{64})$/.exec(entry.url)?.[1];
    if (!digest) continue;
    blobBytes += entry.bytes;
    if (entry.method === 'GET') blobGets.set(digest, (blobGets.get(digest) ?? 0) + 1);
  }
  return { requests: answer.passed, attempts: answer.refused, blobGets, blobBytes };
}
