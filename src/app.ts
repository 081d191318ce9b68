import { showSite } from './app/gauges.ts';
import { type Ground, openGround, type Surroundings } from './app/ground.ts';
import { Lifetime, type OnClose } from './app/lifetime.ts';
import { controlRoutes, listenerRoutes } from './app/routes.ts';
import { openSite, type Site } from './app/site.ts';
import type { Config, PolicyRuleConfig } from './config/config.ts';
import { ControlServer } from './http/server/control-server.ts';
import { requestObserver } from './http/server/observe.ts';
import { HttpServer } from './http/server/server.ts';
import { systemClock } from './lib/clock.ts';
import { silentLog } from './lib/log.ts';
import { version } from './lib/version.ts';
import { PolicyRules } from './policy/rules.ts';
import { SocketFile } from './store/disk/socket-file.ts';

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
type Overrides = Partial<Surroundings>;

/** Builds the server that `config` describes. Nothing is opened before `start`. */
export async function createEntrepot(config: Config, overrides: Overrides = {}): Promise<Entrepot> {
  const around = surroundings(overrides);
  const lifetime = new Lifetime(around, config.server);
  let server: HttpServer | undefined;
  return {
    start: async () => {
      try {
        const opened = await open(config, around, lifetime.onClose);
        server = opened.server;
        return opened.address;
      } catch (error) {
        return lifetime.closeAfter(error);
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
  const lifetime = new Lifetime(around, config.server);
  try {
    const { ground, site } = await openBoth(config, around, lifetime.onClose);
    const routes = controlRoutes(ground, site);
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
  const { ground, site } = await openBoth(config, around, onClose);
  const { metrics, facts, layout } = ground;
  const observe = requestObserver({ log, metrics });
  facts.on('request-ended', ({ exchange, ms }) => observe(exchange, ms));
  showSite(metrics, () => site);
  const notReady = () => {
    if (server.draining) return 'draining';
    // Nothing is downloaded offline.
    return config.offline ? undefined : ground.workers.failing;
  };
  const served = {
    registry: site.api,
    operations: listenerRoutes(ground, site, notReady),
    control: controlRoutes(ground, site),
  };
  const server: HttpServer = new HttpServer(
    { current: () => served, log, facts },
    { ...config.server, tls: config.tls },
  );
  const control = new ControlServer(
    { current: () => served, file: new SocketFile(layout.control), log },
    config.server,
  );
  onClose(() => control.close());
  await control.start();
  onClose(() => server.close());
  const address = await server.start(config.listen);
  await site.begin();
  if (config.offline) log.info({}, 'offline: no upstream is asked');
  log.info({ ...address, version, storage: config.storage.path }, 'listening');
  return { server, address };
}

async function openBoth(
  config: Config,
  around: Surroundings,
  onClose: OnClose,
): Promise<{ ground: Ground; site: Site }> {
  const options = { storage: config.storage.path, connections: config.limits.connections };
  const ground = await openGround(around, options, onClose);
  const site = await openSite(config, ground);
  onClose(() => site.close());
  return { ground, site };
}

function surroundings({
  log = silentLog,
  clock = systemClock,
  random = Math.random,
  wrapMetadata = (inner) => inner,
}: Overrides): Surroundings {
  return { log, clock, random, wrapMetadata };
}
