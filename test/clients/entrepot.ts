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
  /** Starts it again, on the same port and the same storage, with further settings when there are some. */
  restart(settings?: ServerSettings): Promise<void>;
  stop(): Promise<void>;
  /** The lines of all its lives so far. */
  log(): string;
  /** The requests of clients that its log tells of. */
  requests(): LoggedRequest[];
  /** The sum of a counter over all its labels, of a server without TLS. */
  count(metric: string): Promise<number>;
  /** Resolves with the first match of the pattern in the log of its present life. */
  logs(pattern: RegExp): Promise<RegExpExecArray>;
};

/** What the server's log says of a request. */
export type LoggedRequest = {
  readonly route: string;
  readonly status: number;
  readonly image?: string;
  readonly agent?: string;
  readonly user?: string;
  readonly error?: string;
};

/** Top-level keys of the configuration that a test sets; `registries` are added to those of every test. */
export type ServerSettings = {
  readonly policy?: Readonly<Record<string, unknown>>;
  readonly access?: Readonly<Record<string, unknown>>;
  readonly tls?: { readonly cert: string; readonly key: string } | undefined;
  readonly registries?: Readonly<Record<string, unknown>>;
};

/** Starts the server with an empty storage under `directory`, before the given upstreams of docker.io and ghcr.io. */
export async function startEntrepot(
  directory: string,
  upstreams: { dockerHub: string; ghcr: string },
  options: { maxConnections: number } & ServerSettings,
): Promise<Server> {
  const file = path.join(directory, 'config.yaml');
  const lives: Daemon[] = [];
  const start = async (port: number, settings: ServerSettings): Promise<number> => {
    const given = { ...options, ...settings };
    await writeFile(file, stringify(configuration(path.join(directory, 'storage'), port, upstreams, given)));
    const main = path.join(import.meta.dirname, '../../src/main.ts');
    const daemon = startDaemon([process.execPath, main, 'serve', '--config', file]);
    lives.push(daemon);
    const line = await daemon.waitFor(/^\{.*"msg":"listening".*\}$/m);
    return (JSON.parse(line[0]) as { port: number }).port;
  };
  const port = await start(0, {});
  const stop = async () => {
    for (const daemon of lives) if (!daemon.exited()) await daemon.stop();
  };
  const log = () => lives.map((daemon) => daemon.output()).join('--- restarted ---\n');
  return {
    address: `127.0.0.1:${port}`,
    kill: async () => lives.at(-1)?.kill(),
    restart: async (settings = {}) => {
      await stop();
      await start(port, settings);
    },
    stop,
    log,
    count: async (metric) => {
      const answer = await fetch(`http://127.0.0.1:${port}/metrics`);
      const lines = (await answer.text()).split('\n').filter((line) => line.startsWith(`${metric}{`));
      return lines.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' '))), 0);
    },
    requests: () => requestsIn(log()),
    logs: async (pattern) => {
      const life = lives.at(-1);
      if (life === undefined) throw new Error('the server was never started');
      return life.waitFor(pattern);
    },
  };
}

function requestsIn(log: string): LoggedRequest[] {
  const lines = log.split('\n').filter((line) => line.endsWith('"msg":"request"}'));
  return lines.map((line) => JSON.parse(line) as LoggedRequest);
}

function configuration(
  storage: string,
  port: number,
  upstreams: { dockerHub: string; ghcr: string },
  { maxConnections, policy, registries, access, tls }: { maxConnections: number } & ServerSettings,
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
      ...registries,
    },
    policy: {
      rules: [{ images: '**', tags: ['latest'], action: 'deny', reason: denialReason }],
      ...policy,
    },
    ...(access && { access }),
    ...(tls && { tls }),
    log: { level: 'info', format: 'json' },
  };
}
