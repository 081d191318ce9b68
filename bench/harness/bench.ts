import { existsSync, mkdirSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { entrepotExists, startEntrepot } from './entrepot.ts';
import type { Image } from './images.ts';
import type { Gate, Origin } from './origin.ts';
import { type RegistryLogging, startDockerRegistry } from './peers.ts';
import { cpuSeconds } from './process-usage.ts';
import type { Outcome } from './report.ts';
import { type Road, startRoad } from './road.ts';
import type { RoadOptions } from './road-messages.ts';
import type { Sandbox, Server } from './sandbox.ts';

export const MiB = 2 ** 20;
export const GiB = 2 ** 30;

/** What a benchmark gets: a place to work in, the shared upstream, and how much time it may take. */
export type Bench = {
  sandbox: Sandbox;
  origin: Origin;
  /** A few seconds for the whole benchmark instead of enough rounds for a number. */
  short: boolean;
  /** Whether entrepot takes part, or only its peers. */
  withEntrepot: boolean;
};

/** One benchmark: its name on the command line and what it does. */
export type Benchmark = { name: string; run: (bench: Bench) => Promise<Outcome> };

/** The two pull-through caches that are compared. */
export type CacheName = 'entrepot' | 'docker-registry';

/** A pull-through cache with its own storage and its own gate to the origin, perhaps over roads of its own. */
export type Cache = {
  name: CacheName;
  server: Server;
  gate: Gate;
  roads: readonly Road[];
  /** The folder that it keeps everything in. */
  storage: string;
  /** Resolves when the blob is in the cache's storage under its final name: verified, and a hit from then on. */
  stored(digest: string): Promise<void>;
  close(): Promise<void>;
};

export const caches = (bench: Bench): CacheName[] =>
  bench.withEntrepot && entrepotExists() ? ['entrepot', 'docker-registry'] : ['docker-registry'];

/**
 * Starts a cache with an empty storage behind a gate of its own; `close` removes the storage. Each of `roads` is an
 * upstream of its own, of which docker-registry knows the first only; `maxConnections` is entrepot's setting.
 */
export async function startCache(
  bench: Bench,
  name: CacheName,
  options: {
    bytesPerSecond?: number;
    logging?: RegistryLogging;
    roads?: readonly RoadOptions[];
    maxConnections?: number;
    /** Further lines of entrepot's configuration. */
    config?: string;
  } = {},
): Promise<Cache> {
  const { bytesPerSecond, logging = 'error', maxConnections, config } = options;
  const gate = await bench.origin.gate(bytesPerSecond === undefined ? {} : { bytesPerSecond });
  const storage = bench.sandbox.path(name);
  mkdirSync(storage);
  const roads: Road[] = [];
  for (const road of options.roads ?? []) roads.push(await startRoad(bench.sandbox, gate.url, road));
  const upstreams = roads.length === 0 ? [gate.url] : roads.map(({ url }) => url);
  const logLevel = logging === 'access' ? 'info' : 'warn';
  const server =
    name === 'entrepot'
      ? await startEntrepot(bench.sandbox, {
          storage,
          upstreams,
          logLevel,
          ...(maxConnections !== undefined && { maxConnections }),
          ...(config !== undefined && { config }),
        })
      : await startDockerRegistry(bench.sandbox, { storage, upstream: upstreams[0] ?? gate.url, logging });
  return {
    name,
    server,
    gate,
    roads,
    storage,
    stored: async (digest) => {
      const file = join(storage, storedPath[name](digest.replace('sha256:', '')));
      for (const deadline = Date.now() + 60_000; !existsSync(file); await pause(5)) {
        if (Date.now() > deadline) throw new Error(`${name} has not stored ${digest}`);
      }
    },
    close: async () => {
      await server.stop();
      for (const road of roads) await road.stop();
      await gate.stop();
      await rm(storage, { recursive: true, force: true });
    },
  };
}

/** Where each cache keeps a whole blob, by the hex of its SHA-256. */
const storedPath: Readonly<Record<CacheName, (hex: string) => string>> = {
  entrepot: (hex) => `blobs/sha256/${hex.slice(0, 2)}/${hex}`,
  'docker-registry': (hex) => `docker/registry/v2/blobs/sha256/${hex.slice(0, 2)}/${hex}/data`,
};

/** The image with the one large layer. */
export const bigImage = (bench: Bench): Promise<Image> =>
  bench.short ? bench.origin.image('big-short', [64 * MiB]) : bench.origin.image('big', [512 * MiB]);

/** CPU seconds that a server uses while the action runs. */
export async function cpuDuring(server: Server, action: () => Promise<unknown>): Promise<number> {
  const before = cpuSeconds(server.pid);
  await action();
  return cpuSeconds(server.pid) - before;
}
