import { availableParallelism } from 'node:os';
import type { Config, UpstreamConfig } from './config/config.ts';
import { BlobEndpoint } from './http/blob-endpoint.ts';
import { BufferPool } from './http/buffer-pool.ts';
import { requestObserver } from './http/observe.ts';
import { operationsRoutes } from './http/operations.ts';
import { RegistryApi } from './http/registry.ts';
import { HttpServer } from './http/server.ts';
import { type Clock, systemClock } from './lib/clock.ts';
import { type Log, silentLog } from './lib/log.ts';
import { type Metrics, openMetrics } from './lib/metrics.ts';
import { version } from './lib/version.ts';
import { TagRules } from './policy/tag-rules.ts';
import { PullBlobs } from './pull/blobs.ts';
import { FillWorkers } from './pull/fill-workers.ts';
import { Fills } from './pull/fills.ts';
import { HedgeBudget } from './pull/hedge-budget.ts';
import { PullListings } from './pull/listings.ts';
import { ManifestStore } from './pull/manifest-store.ts';
import { PullManifests } from './pull/manifests.ts';
import { Namespaces } from './pull/namespaces.ts';
import { PullTimes } from './pull/pull-times.ts';
import type { Registry } from './pull/registry.ts';
import { UpstreamWatch } from './pull/upstream-watch.ts';
import { VerifiedDownloads } from './pull/verified-downloads.ts';
import { DiskBlobStore } from './store/disk-blob-store.ts';
import { FillFiles } from './store/fill-files.ts';
import { storageLayout } from './store/layout.ts';
import { SqliteMetadata } from './store/sqlite-metadata.ts';
import { Bandwidth } from './upstream/bandwidth.ts';
import { UpstreamClient } from './upstream/client.ts';
import { UpstreamHealth } from './upstream/health.ts';

/** A whole server: everything behind one configuration. */
export type Entrepot = {
  /** Opens the storage and listens; resolves to the address in use. */
  start(): Promise<{ host: string; port: number }>;
  /** Drains, then releases everything; idempotent. */
  close(): Promise<void>;
};

/** Milliseconds that a download goes on without a reader. */
const fillPatience = 15 * 60_000;

/** Bytes that a blob of undeclared size may have. */
const largestBlob = 64 * 1024 ** 3;

/** Milliseconds after which the rest of an interrupted download is not worth resuming. */
const staleFill = 24 * 3600_000;

/** Pooled send buffers, half a megabyte each: two for each of 24 clients; further ones send in smaller pieces. */
const sendBuffers = 48;

/** Builds the server that `config` describes. Nothing is opened before `start`. */
export async function createEntrepot(
  config: Config,
  overrides: { log?: Log; clock?: Clock; random?: () => number } = {},
): Promise<Entrepot> {
  const { log = silentLog, clock = systemClock, random = Math.random } = overrides;
  const closers: (() => Promise<void> | void)[] = [];
  let closing: Promise<void> | undefined;
  const close = async () => {
    for (const closer of closers.reverse()) await closer();
  };
  return {
    start: async () => {
      try {
        return await open(config, { log, clock, random }, (closer) => closers.push(closer));
      } catch (error) {
        closing ??= close();
        await closing;
        throw error;
      }
    },
    close: () => {
      closing ??= close();
      return closing;
    },
  };
}

async function open(
  config: Config,
  { log, clock, random }: { log: Log; clock: Clock; random: () => number },
  onClose: (closer: () => Promise<void> | void) => void,
): Promise<{ host: string; port: number }> {
  const metrics = openMetrics();
  onClose(() => metrics.close());

  const layout = storageLayout(config.storage.path);
  const metadata = SqliteMetadata.open(layout.index);
  onClose(() => metadata.close());
  const files = new FillFiles(layout);
  const removed = await files.prepare(clock.now() - staleFill);
  if (removed > 0) log.info({ removed }, 'leftovers of interrupted downloads removed');
  const blobs = new DiskBlobStore(layout);

  const registries = buildRegistries(config, { log, clock, metrics, random });
  const hedgeBudget = new HedgeBudget();
  onClose(async () => {
    await Promise.all(registries.flatMap(({ upstreams }) => upstreams.map((upstream) => upstream.close())));
  });
  const watch = new UpstreamWatch({ registries, metadata, clock, log, random });
  await watch.start();
  onClose(() => watch.close());
  watchUpstreams(registries, metrics);
  const workers = new FillWorkers({ threads: Math.max(2, Math.min(4, availableParallelism())) });
  onClose(() => workers.close());
  const fillsEnded = metrics.counter('entrepot_fills_total', 'Downloads that ended, by how.', ['result']);
  const fillBytes = metrics.counter('entrepot_fill_bytes_total', 'Bytes downloaded and stored.', []);
  const hedges = metrics.counter(
    'entrepot_hedges_total',
    'Second requests sent because the first was late.',
    [],
  );
  const distrusted = metrics.counter('entrepot_distrusted_total', 'Blobs that an upstream sent wrong.', [
    'upstream',
  ]);
  const budgetOf = bandwidthBudgets(config);
  const fills = new Fills(
    {
      blobs,
      files,
      metadata,
      workers,
      downloads: new VerifiedDownloads(
        {
          log,
          random,
          hedges: hedgeBudget,
          budgets: budgetOf,
          hedged: () => hedges({}),
          distrusted: (upstream) => distrusted({ upstream }),
        },
        { patience: { rounds: 4, pause: 250 } },
      ),
      clock,
      log,
      ended: ({ result, bytes }) => {
        fillsEnded({ result });
        if (result === 'stored') fillBytes({}, bytes);
      },
    },
    {
      patience: fillPatience,
      sizeLimit: largestBlob,
      concurrency: config.limits.connections,
    },
  );
  onClose(() => fills.close());
  metrics.gauge('entrepot_fills_active', 'Downloads under way.', () => fills.active);

  const { manifestSize } = config.limits;
  const manifests = new PullManifests(
    {
      store: new ManifestStore({ metadata }),
      clock,
      log,
      random,
      hedging: { budget: hedgeBudget, hedged: () => hedges({}) },
    },
    { manifestSize },
  );
  onClose(() => manifests.close());
  const listings = new PullListings({ metadata, clock, random }, { manifestSize });
  onClose(() => listings.close());
  const pullBlobs = new PullBlobs({ blobs, metadata, fills, clock, random });
  onClose(() => pullBlobs.close());
  const pullTimes = new PullTimes({ metadata, log }, { every: 5_000 });
  onClose(() => pullTimes.close());

  const { writeStallTimeout, drainTimeout } = config.server;
  const api = new RegistryApi({
    namespaces: new Namespaces(registries, {
      aliases: aliasesOf(config),
      defaultRegistry: config.defaultRegistry,
    }),
    manifests,
    blobs: new BlobEndpoint(
      { blobs: pullBlobs, pool: new BufferPool({ most: sendBuffers }) },
      { writeStallTimeout },
    ),
    listings,
    rules: new TagRules(config.policy),
    pullTimes,
    now: () => clock.now(),
  });
  const server: HttpServer = new HttpServer(
    {
      registry: api,
      operations: operationsRoutes({
        notReady: () => (server.draining ? 'draining' : undefined),
        metrics: () => metrics.render(),
      }),
      log,
      observe: requestObserver({ log, metrics }),
    },
    { drainTimeout },
  );
  onClose(() => server.close());
  const address = await server.start(config.listen);
  log.info({ ...address, version, storage: config.storage.path }, 'listening');
  return address;
}

function buildRegistries(
  config: Config,
  deps: { log: Log; clock: Clock; metrics: Metrics; random: () => number },
): readonly Registry[] {
  const seconds = deps.metrics.seconds('entrepot_upstream_seconds', 'Upstream requests, by how they ended.', [
    'upstream',
    'op',
    'outcome',
  ]);
  return Object.entries(config.registries).map(([name, { upstreams, tagTtl, negativeTtl }]) => ({
    name,
    tagTtl,
    negativeTtl,
    upstreams: upstreams.map((upstream) => {
      const label = new URL(upstream.url).host;
      const observe = (op: string, outcome: string, ms: number) => {
        seconds({ upstream: label, op, outcome }, ms / 1000);
      };
      const health = new UpstreamHealth({ clock: deps.clock, random: deps.random });
      return new UpstreamClient(
        { log: deps.log, clock: deps.clock, health, observe },
        upstreamOptions(config, upstream),
      );
    }),
  }));
}

/** Shows how each upstream does: its state, what it still grants, and whether it is left alone for wrong bytes. */
function watchUpstreams(registries: readonly Registry[], metrics: Metrics): void {
  const all = registries.flatMap(({ name: registry, upstreams }) => {
    return upstreams.map(({ name: upstream, health }) => ({ labels: { registry, upstream }, health }));
  });
  const labels = ['registry', 'upstream'];
  const show = (name: string, help: string, value: (health: UpstreamHealth) => number | undefined) => {
    metrics.gauges(name, help, labels, () => {
      return all.flatMap((each) => {
        const shown = value(each.health);
        return shown === undefined ? [] : [{ labels: each.labels, value: shown }];
      });
    });
  };
  show(
    'entrepot_upstream_up',
    'Whether requests go to it: 1 yes, 0.5 it is being tried, 0 no.',
    ({ state }) => {
      return { closed: 1, 'half-open': 0.5, open: 0 }[state];
    },
  );
  show('entrepot_upstream_quarantined', 'Whether it is left alone because it sent wrong bytes.', (health) => {
    return health.describe().quarantinedUntil === undefined ? 0 : 1;
  });
  show('entrepot_upstream_budget_remaining', 'Requests that its rate limit still grants.', (health) => {
    return health.bank.remaining;
  });
  show('entrepot_upstream_first_byte_seconds', 'Its usual time to the first byte.', ({ firstByteMs }) => {
    return firstByteMs === undefined ? undefined : firstByteMs / 1000;
  });
  show('entrepot_upstream_bytes_per_second', 'Its usual throughput of one connection.', (health) => {
    return health.bytesPerSecond;
  });
}

function upstreamOptions(
  config: Config,
  upstream: UpstreamConfig,
): ConstructorParameters<typeof UpstreamClient>[1] {
  return { ...upstream, proxy: config.outboundProxy, userAgent: `entrepot/${version}` };
}

/** The budgets that a connection to an upstream keeps: its own, and that of all together. */
function bandwidthBudgets(
  config: Config,
): (upstream: { readonly name: string }) => readonly SharedArrayBuffer[] {
  const make = (bytesPerSecond: number | undefined) => {
    return bytesPerSecond === undefined ? [] : [Bandwidth.make(bytesPerSecond).shared];
  };
  const total = make(config.limits.maxBandwidth);
  const own = new Map(
    Object.values(config.registries)
      .flatMap(({ upstreams }) => upstreams)
      .map(({ url, maxBandwidth }) => [url.replace(/^https?:\/\//, ''), make(maxBandwidth)] as const),
  );
  return ({ name }) => [...total, ...(own.get(name) ?? [])];
}

function aliasesOf(config: Config): ReadonlyMap<string, string> {
  return new Map(
    Object.entries(config.registries).flatMap(([name, { hosts }]) =>
      hosts.map((host) => [host, name] as const),
    ),
  );
}
