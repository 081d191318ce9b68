import { type Core, openCore, type Surroundings } from './app/core.ts';
import { openDoors } from './app/doors.ts';
import { Lifetime, type OnClose } from './app/lifetime.ts';
import { openPrefetch, openSync, startSyncSchedule } from './app/sync.ts';
import type { Config, PolicyRuleConfig } from './config/config.ts';
import { type AdminOptions, adminRoutes } from './http/admin.ts';
import { bundleRoutes } from './http/admin-bundle.ts';
import { joinRoutes } from './http/admin-router.ts';
import { syncRoutes } from './http/admin-sync.ts';
import { transferRoutes } from './http/admin-transfer.ts';
import { BlobEndpoint } from './http/blob-endpoint.ts';
import { BufferPool } from './http/buffer-pool.ts';
import { ControlServer } from './http/control-server.ts';
import type { Exchange } from './http/exchange.ts';
import { ManifestEndpoint } from './http/manifest-endpoint.ts';
import { requestObserver } from './http/observe.ts';
import { operationsRoutes } from './http/operations.ts';
import { RegistryApi } from './http/registry.ts';
import { HttpServer } from './http/server.ts';
import { tokenRoutes } from './http/token-route.ts';
import { type Clock, systemClock } from './lib/clock.ts';
import { type Log, silentLog } from './lib/log.ts';
import { version } from './lib/version.ts';
import { BypassWatch } from './policy/bypass-watch.ts';
import { DeniedManifests } from './policy/denied-manifest.ts';
import { PolicyRules } from './policy/rules.ts';
import { PullTimes } from './pull/pull-times.ts';
import { SocketFile } from './store/socket-file.ts';
import type { Sync } from './transfer/sync.ts';

export { hashPassword } from './policy/hash-password.ts';

/** What is wrong with a policy rule beyond its form; `undefined` when it can be used. */
export function ruleFault(rule: PolicyRuleConfig): string | undefined {
  try {
    new PolicyRules({ default: 'allow', rules: [rule] });
    return undefined;
  } catch (error) {
    if (error instanceof TypeError) return error.message.replace(/^policy rule 1: /, '');
    throw error;
  }
}

/** A whole server: everything behind one configuration. */
export type Entrepot = {
  /** Opens the storage and listens; resolves to the address in use. */
  start(): Promise<{ host: string; port: number }>;
  /** Drains, then releases everything; idempotent. */
  close(): Promise<void>;
};

/** The admin API of a storage that no server has open. */
export type Admin = {
  fetch(request: Request): Promise<Response>;
  close(): Promise<void>;
};

/** What stands in for the system's own, in tests. */
type Overrides = { log?: Log; clock?: Clock; random?: () => number };

/** Pooled send buffers, half a megabyte each: two for each of 20 clients; further ones send in smaller pieces. */
const sendBuffers = 40;

/** Builds the server that `config` describes. Nothing is opened before `start`. */
export async function createEntrepot(config: Config, overrides: Overrides = {}): Promise<Entrepot> {
  const lifetime = new Lifetime();
  return {
    start: async () => {
      try {
        return await open(config, surroundings(overrides), lifetime.onClose);
      } catch (error) {
        await lifetime.close();
        throw error;
      }
    },
    close: () => lifetime.close(),
  };
}

/**
 * Opens the storage of a configuration for commands, without serving clients.
 * @throws IndexError when a server has it open
 */
export async function openAdmin(config: Config, overrides: Overrides = {}): Promise<Admin> {
  const lifetime = new Lifetime();
  try {
    const around = surroundings(overrides);
    const core = await openCore(config, around, lifetime.onClose);
    const sync = openSync(config, core, around, lifetime.onClose);
    const routes = admin({ ...core, sync }, around.log, namesOf(config));
    return { fetch: async (request) => routes.fetch(request), close: () => lifetime.close() };
  } catch (error) {
    await lifetime.close();
    throw error;
  }
}

async function open(
  config: Config,
  around: Surroundings,
  onClose: OnClose,
): Promise<{ host: string; port: number }> {
  const { log } = around;
  const core = await openCore(config, around, onClose);
  const { metrics, layout } = core;
  const doors = await openDoors(config, core, around, onClose);
  const { gatekeeper } = doors;
  const { drainTimeout } = config.server;

  const operations = operationsRoutes({
    notReady: () => (server.draining ? 'draining' : undefined),
    metrics: () => metrics.render(),
  });
  operations.route('/', tokenRoutes({ ...doors, log }));
  const sync = openSync(config, core, around, onClose);
  const guarded = admin({ ...core, sync }, log, {
    ...namesOf(config),
    authorize: (exchange, image) => gatekeeper.admin(exchange, image),
  });
  operations.route('/', guarded);

  const server: HttpServer = new HttpServer(
    {
      registry: openApi(config, core, gatekeeper, around, onClose),
      operations,
      log,
      observe: requestObserver({ log, metrics }),
    },
    { drainTimeout, tls: config.tls },
  );
  const control = new ControlServer(
    {
      routes: admin({ ...core, sync }, log, namesOf(config)),
      file: new SocketFile(layout.control),
      log,
    },
    { drainTimeout },
  );
  onClose(() => control.close());
  await control.start();
  onClose(() => server.close());
  const address = await server.start(config.listen);
  await startSyncSchedule(config, sync, around, onClose);
  if (config.offline) log.info({}, 'offline: no upstream is asked');
  log.info({ ...address, version, storage: config.storage.path }, 'listening');
  return address;
}

function openApi(
  config: Config,
  core: Core,
  gatekeeper: RegistryApiGatekeeper,
  around: Surroundings,
  onClose: OnClose,
): RegistryApi {
  const { log, clock } = around;
  const { metrics, metadata, namespaces, admission, manifests, listings, blobs } = core;
  const denials = new DeniedManifests();
  const watch = new BypassWatch({ clock });
  const denied = metrics.counter('entrepot_denied_total', 'Requests that policy denied.', [
    'registry',
    'route',
  ]);
  const bypasses = metrics.counter(
    'entrepot_bypass_attempts_total',
    'Requests for content of an image by a client that had been denied it by tag.',
    ['registry'],
  );
  const refused = (exchange: Exchange, image: string) => {
    denied({ registry: registryOf(image), route: exchange.facts.route });
  };
  const content = (exchange: Exchange, image: string) => {
    refused(exchange, image);
    const client = exchange.incoming.socket.remoteAddress ?? '';
    if (!watch.follows(client, image)) return;
    bypasses({ registry: registryOf(image) });
    log.warn(
      { image, reference: exchange.facts.reference, client, agent: exchange.incoming.headers['user-agent'] },
      'denied image asked for by digest: its client goes around the policy',
    );
  };
  const pullTimes = new PullTimes({ metadata, log }, { every: 5_000 });
  onClose(() => pullTimes.close());
  const prefetch = openPrefetch(config, core, around, onClose);
  const { writeStallTimeout } = config.server;
  return new RegistryApi({
    namespaces,
    gatekeeper,
    admission,
    denials,
    listings,
    manifests: new ManifestEndpoint(
      {
        manifests,
        admission,
        denials,
        pullTimes,
        now: () => clock.now(),
        ...(prefetch && { served: prefetch.served.bind(prefetch) }),
        denied: (exchange, image, reference) => {
          if (reference.kind === 'digest') return content(exchange, image);
          refused(exchange, image);
          watch.denied(exchange.incoming.socket.remoteAddress ?? '', image);
        },
      },
      { failClosed: config.policy.failClosed },
    ),
    blobs: new BlobEndpoint({ blobs, pool: new BufferPool({ most: sendBuffers }) }, { writeStallTimeout }),
    denied: content,
  });
}

/** All of the admin API. */
function admin(
  core: Core & { readonly sync: Sync },
  log: Log,
  options: AdminOptions,
): ReturnType<typeof joinRoutes> {
  return joinRoutes(
    transferRoutes({ ...core, log }, options),
    bundleRoutes({ ...core, log }, options),
    syncRoutes({ sync: core.sync, log }, options),
    // It answers every other path, so it comes last.
    adminRoutes({ operations: core.tags, log }, options),
  );
}

type RegistryApiGatekeeper = ConstructorParameters<typeof RegistryApi>[0]['gatekeeper'];

function registryOf(image: string): string {
  return image.slice(0, image.indexOf('/'));
}

function surroundings({
  log = silentLog,
  clock = systemClock,
  random = Math.random,
}: Overrides): Surroundings {
  return { log, clock, random };
}

function namesOf({ defaultRegistry, registries }: Config): {
  defaultRegistry: string;
  registries: readonly string[];
} {
  return { defaultRegistry, registries: Object.keys(registries) };
}
