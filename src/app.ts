import { openApi } from './app/api.ts';
import { type Core, openCore, type Surroundings } from './app/core.ts';
import { openDoors } from './app/doors.ts';
import { Lifetime, type OnClose } from './app/lifetime.ts';
import { openSync, startSyncSchedule } from './app/open-sync.ts';
import type { Config, PolicyRuleConfig } from './config/config.ts';
import { tokenRoutes } from './http/access/token-route.ts';
import { adminRoutes } from './http/admin/admin.ts';
import { bundleRoutes } from './http/admin/bundle-routes.ts';
import { type AdminOptions, joinRoutes } from './http/admin/router.ts';
import { syncRoutes } from './http/admin/sync-routes.ts';
import { transferRoutes } from './http/admin/transfer-routes.ts';
import { ControlServer } from './http/server/control-server.ts';
import { requestObserver } from './http/server/observe.ts';
import { operationsRoutes } from './http/server/operations.ts';
import { HttpServer } from './http/server/server.ts';
import { type Clock, systemClock } from './lib/clock.ts';
import { type Log, silentLog } from './lib/log.ts';
import { version } from './lib/version.ts';
import { PolicyRules } from './policy/rules.ts';
import { SocketFile } from './store/disk/socket-file.ts';
import type { Sync } from './transfer/sync/sync-entries.ts';

export { hashPassword } from './policy/bcrypt-hash.ts';

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
  /** Says on `/readyz` that it should get no more requests, and serves on for the drain delay; `signal` ends that early. */
  retire(signal: AbortSignal): Promise<void>;
  /**
   * Drains, then releases everything; idempotent.
   * @throws CloseError when some of it could not be released; the log says what
   */
  close(): Promise<void>;
};

/** The admin API of a storage that no server has open. */
export type Admin = {
  fetch(request: Request): Promise<Response>;
  close(): Promise<void>;
};

/** What stands in for the system's own, in tests. */
type Overrides = { log?: Log; clock?: Clock; random?: () => number };

/** Builds the server that `config` describes. Nothing is opened before `start`. */
export async function createEntrepot(config: Config, overrides: Overrides = {}): Promise<Entrepot> {
  const around = surroundings(overrides);
  const lifetime = new Lifetime({ log: around.log }, config.server);
  let server: HttpServer | undefined;
  return {
    start: async () => {
      try {
        const opened = await open(config, around, lifetime.onClose);
        server = opened.server;
        return opened.address;
      } catch (error) {
        return await lifetime.closeAfter(error);
      }
    },
    retire: async (signal) => server?.retire(signal),
    close: () => lifetime.close(),
  };
}

/**
 * Opens the storage of a configuration for commands, without serving clients.
 * @throws IndexError when a server has it open
 */
export async function openAdmin(config: Config, overrides: Overrides = {}): Promise<Admin> {
  const around = surroundings(overrides);
  const lifetime = new Lifetime({ log: around.log }, config.server);
  try {
    const core = await openCore(config, around, lifetime.onClose);
    const sync = openSync(config, core, around, lifetime.onClose);
    const routes = admin({ ...core, sync }, around.log, namesOf(config));
    return { fetch: async (request) => routes.fetch(request), close: () => lifetime.close() };
  } catch (error) {
    return lifetime.closeAfter(error);
  }
}

async function open(
  config: Config,
  around: Surroundings,
  onClose: OnClose,
): Promise<{ server: HttpServer; address: { host: string; port: number } }> {
  const { log } = around;
  const core = await openCore(config, around, onClose);
  const { metrics, facts, layout } = core;
  const observe = requestObserver({ log, metrics });
  facts.on('request-ended', ({ exchange, ms }) => observe(exchange, ms));
  const doors = await openDoors(config, core, around, onClose);
  const { gatekeeper } = doors;
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
      facts,
    },
    { ...config.server, tls: config.tls },
  );
  const control = new ControlServer(
    {
      routes: admin({ ...core, sync }, log, namesOf(config)),
      file: new SocketFile(layout.control),
      log,
    },
    config.server,
  );
  onClose(() => control.close());
  await control.start();
  onClose(() => server.close());
  const address = await server.start(config.listen);
  await startSyncSchedule(config, sync, around, onClose);
  if (config.offline) log.info({}, 'offline: no upstream is asked');
  log.info({ ...address, version, storage: config.storage.path }, 'listening');
  return { server, address };
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
