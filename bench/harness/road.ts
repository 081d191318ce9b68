import { join } from 'node:path';
import type { RoadCommand, RoadOptions, RoadTraffic } from './road-messages.ts';
import { freePort, type Sandbox } from './sandbox.ts';

/** A proxy process before an upstream. */
export type Road = { readonly url: string; traffic(): Promise<RoadTraffic>; stop(): Promise<void> };

const entry = join(import.meta.dirname, 'road-process.ts');

/**
 * Starts a proxy before `upstream`. nginx's `limit_rate` will not do where requests are many: it grants each of them a
 * second's worth of bytes at once.
 */
export async function startRoad(sandbox: Sandbox, upstream: string, options: RoadOptions): Promise<Road> {
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const command: RoadCommand = { ...options, port, upstream };
  const server = await sandbox.start({
    name: 'road',
    command: process.execPath,
    args: [entry, JSON.stringify(command)],
    url,
  });
  return {
    url,
    traffic: async () => (await (await fetch(`${url}/road-traffic`)).json()) as RoadTraffic,
    stop: () => server.stop(),
  };
}
