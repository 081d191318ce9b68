import { randomInt } from 'node:crypto';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { inject, type TestContext } from 'vitest';
import { type Authority, makeAuthority } from './certificates.ts';
import type { Client, ClientOptions } from './client.ts';
import { type Server, type ServerSettings, startEntrepot } from './entrepot.ts';
import type { FrontOptions } from './front.ts';
import { privateRegistry } from './images.ts';
import { type ClientKey, roster } from './roster.ts';
import { loginHost, mirrorHost } from './sandbox.ts';
import { startUpstream, type Upstream } from './upstream.ts';

/** One test's surroundings: a server with an empty storage, counted upstreams, and the clients it asks for. */
export type Lab = {
  readonly server: Server;
  readonly dockerHub: Upstream;
  readonly ghcr: Upstream;
  /** A registry that lets in nobody but the server, by {@link upstreamLogin}; only with `guarded`. */
  readonly guarded: Upstream | undefined;
  /** The certificate of the server; only with `tls`. */
  readonly tls: { readonly authority: Authority; renew(by: Authority): Promise<void> } | undefined;
  /** A folder of the test's, which is removed with it. */
  readonly directory: string;
  client(key: ClientKey, options?: Omit<ClientOptions, 'directory' | 'server'>): Promise<Client>;
  /** The registry itself, at the addresses where clients look for docker.io, with a certificate that they trust. */
  openOrigin(): Promise<Origin>;
};

/** The registry that the server mirrors, as clients reach it without the server. */
export type Origin = Upstream & {
  /** What a client is told, so that it finds the registry, and trusts it. */
  readonly known: Required<Pick<ClientOptions, 'origin' | 'trusted'>>;
};

/** What a test wants to be different. */
export type LabOptions = {
  /** Connections for one blob. */
  readonly maxConnections?: number;
  readonly settings?: ServerSettings;
  /** Whether there is the registry {@link Lab.guarded}. */
  readonly guarded?: boolean;
  /** Whether the server speaks HTTPS, with a certificate by a private authority; clients trust that one. */
  readonly tls?: boolean;
};

/** The server's account at the guarded registry. */
export const upstreamLogin = { username: 'entrepot', password: 'upstream-secret' };

/**
 * Sets a test's surroundings up, and takes everything down when the test has finished, however it did.
 * A failed test gets the logs of the server and of its clients printed. Unless a test says otherwise one blob uses one
 * connection, so that the requests that an upstream counts are the downloads.
 */
export async function openLab(test: TestContext, options: LabOptions = {}): Promise<Lab> {
  const { maxConnections = 1 } = options;
  const directory = await mkdtemp(path.join(tmpdir(), 'entrepot-clients-'));
  const closers: (() => Promise<void>)[] = [() => rm(directory, { recursive: true, force: true })];
  const logs: (() => string)[] = [];
  test.onTestFinished(async () => {
    if (test.task.result?.state === 'fail') {
      console.error(logs.map((log) => log()).join('\n'));
    }
    for (const close of closers.reverse()) await close();
  });

  const ports = inject('registryPorts');
  const upstream = async (port: number, front?: Omit<FrontOptions, 'registryPort'>) => {
    const opened = await startUpstream(port, front);
    closers.push(opened.stop);
    return opened;
  };
  const [dockerHub, ghcr, guarded, tls] = await Promise.all([
    upstream(ports.dockerHub),
    upstream(ports.ghcr),
    options.guarded ? upstream(ports.ghcr, { login: upstreamLogin }) : undefined,
    options.tls ? openTls(directory) : undefined,
  ]);
  const { settings = {} } = options;
  const guardedRegistry = guarded && {
    [privateRegistry]: {
      upstreams: [{ url: guarded.url, insecure: true, maxConnections, ...upstreamLogin }],
    },
  };
  const server = await startEntrepot(
    directory,
    { dockerHub: dockerHub.url, ghcr: ghcr.url },
    {
      maxConnections,
      ...settings,
      tls: tls?.files,
      registries: { ...guardedRegistry, ...settings.registries },
    },
  );
  closers.push(server.stop);
  logs.push(() => `== server ==\n${server.log()}`);

  let clients = 0;
  return {
    server,
    dockerHub,
    ghcr,
    guarded,
    tls,
    directory,
    client: async (key, wanted = {}) => {
      clients += 1;
      const own = path.join(directory, `${key}-${clients}`);
      await mkdir(own);
      const ca = tls?.authority.cert;
      const client = await roster[key]({ directory: own, server: server.address, ca, ...wanted });
      closers.push(client.stop);
      logs.push(() => `== ${client.name} ==\n${complaints(client.log())}`);
      return client;
    },
    openOrigin: async () => {
      const authority = await makeAuthority(path.join(directory, 'origin-ca'), 'a public authority');
      const names = ['registry-1.docker.io', 'docker.io'];
      const certificate = await authority.issue(path.join(directory, 'origin'), names);
      // All of 127.0.0.0/8 is this machine: tests that run at once each have an address with a port 443.
      const address = [127, randomInt(1, 255), randomInt(1, 255), randomInt(2, 255)].join('.');
      const listen = { host: address, port: 443 };
      const opened = await upstream(ports.dockerHub, { listen, tls: certificate });
      return { ...opened, known: { origin: address, trusted: authority.cert } };
    },
  };
}

async function openTls(directory: string) {
  const authority = await makeAuthority(path.join(directory, 'ca'), 'a private authority');
  const folder = path.join(directory, 'tls');
  const names = [loginHost, mirrorHost];
  return {
    authority,
    files: await authority.issue(folder, names),
    renew: async (by: Authority) => void (await by.issue(folder, names)),
  };
}

/** What a daemon's log holds above the level of information; the last of it. */
function complaints(log: string): string {
  const lines = log.split('\n').filter((line) => !/level="?(?:info|debug)/.test(line));
  return lines.slice(-40).join('\n');
}
