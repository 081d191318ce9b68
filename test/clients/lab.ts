import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { inject, type TestContext } from 'vitest';
import type { Client } from './client.ts';
import { type Server, startEntrepot } from './entrepot.ts';
import { type ClientKey, roster } from './roster.ts';
import { startUpstream, type Upstream } from './upstream.ts';

/** One test's surroundings: a server with an empty storage, counted upstreams, and the clients it asks for. */
export type Lab = {
  readonly server: Server;
  readonly dockerHub: Upstream;
  readonly ghcr: Upstream;
  client(key: ClientKey): Promise<Client>;
};

/**
 * Sets a test's surroundings up, and takes everything down when the test has finished, however it did.
 * A failed test gets the logs of the server and of its clients printed. Unless a test says otherwise one blob uses one
 * connection, so that the requests that an upstream counts are the downloads.
 */
export async function openLab(test: TestContext, { maxConnections } = { maxConnections: 1 }): Promise<Lab> {
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
  const upstream = async (port: number) => {
    const opened = await startUpstream(port);
    closers.push(opened.stop);
    return opened;
  };
  const [dockerHub, ghcr] = await Promise.all([upstream(ports.dockerHub), upstream(ports.ghcr)]);
  const server = await startEntrepot(
    directory,
    { dockerHub: dockerHub.url, ghcr: ghcr.url },
    { maxConnections },
  );
  closers.push(server.stop);
  logs.push(() => `== server ==\n${server.log()}`);

  return {
    server,
    dockerHub,
    ghcr,
    client: async (key) => {
      const own = path.join(directory, key);
      await mkdir(own);
      const client = await roster[key]({ directory: own, server: server.address });
      closers.push(client.stop);
      logs.push(() => `== ${client.name} ==\n${complaints(client.log())}`);
      return client;
    },
  };
}

/** What a daemon's log holds above the level of information; the last of it. */
function complaints(log: string): string {
  const lines = log.split('\n').filter((line) => !/level="?(?:info|debug)/.test(line));
  return lines.slice(-40).join('\n');
}
