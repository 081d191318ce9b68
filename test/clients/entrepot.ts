import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { stringify } from 'yaml';
import { type Daemon, startDaemon } from './process.ts';

/** Why the policy of every test denies the tag `latest`, in the words that a person must get to read. */
export const denialReason = 'pin a version';

/** The server under test, as a process of its own. */
export type Server = {
  /** `127.0.0.1:PORT`; stays the same over a restart. */
  readonly address: string;
  /** SIGKILL, and waits for the end. */
  kill(): Promise<void>;
  /** Starts it again, on the same port and the same storage. */
  restart(): Promise<void>;
  stop(): Promise<void>;
  /** The lines of all its lives so far. */
  log(): string;
};

/** Starts the server with an empty storage under `directory`, before the given upstreams of docker.io and ghcr.io. */
export async function startEntrepot(
  directory: string,
  upstreams: { dockerHub: string; ghcr: string },
  options: { maxConnections: number },
): Promise<Server> {
  const file = path.join(directory, 'config.yaml');
  const lives: Daemon[] = [];
  const start = async (port: number): Promise<number> => {
    await writeFile(
      file,
      stringify(configuration(path.join(directory, 'storage'), port, upstreams, options)),
    );
    const main = path.join(import.meta.dirname, '../../src/main.ts');
    const daemon = startDaemon([process.execPath, main, 'serve', '--config', file]);
    lives.push(daemon);
    const line = await daemon.waitFor(/^\{.*"msg":"listening".*\}$/m);
    return (JSON.parse(line[0]) as { port: number }).port;
  };
  const port = await start(0);
  return {
    address: `127.0.0.1:${port}`,
    kill: async () => lives.at(-1)?.kill(),
    restart: async () => void (await start(port)),
    stop: async () => {
      for (const daemon of lives) if (!daemon.exited()) await daemon.stop();
    },
    log: () => lives.map((daemon) => daemon.output()).join('--- restarted ---\n'),
  };
}

function configuration(
  storage: string,
  port: number,
  upstreams: { dockerHub: string; ghcr: string },
  { maxConnections }: { maxConnections: number },
): unknown {
  return {
    listen: `127.0.0.1:${port}`,
    storage: { path: storage },
    registries: {
      'docker.io': {
        upstreams: [{ url: upstreams.dockerHub, insecure: true, maxConnections }],
        tagTtl: '5m',
      },
      'ghcr.io': { upstreams: [{ url: upstreams.ghcr, insecure: true, maxConnections }] },
    },
    policy: { rules: [{ images: '**', tags: ['latest'], action: 'deny', reason: denialReason }] },
    log: { level: 'info', format: 'json' },
  };
}
