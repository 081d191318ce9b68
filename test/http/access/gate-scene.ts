import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { getRequestListener } from '@hono/node-server';
import { hashSync } from 'bcryptjs';
import { onTestFinished } from 'vitest';
import { Authenticator } from '../../../src/http/access/authenticate.ts';
import { Gatekeeper } from '../../../src/http/access/gatekeeper.ts';
import { tokenRoutes } from '../../../src/http/access/token-route.ts';
import { beginExchange, type Facts } from '../../../src/http/exchange.ts';
import { sendError, sendWhole } from '../../../src/http/respond.ts';
import { OciError } from '../../../src/oci/errors.ts';
import { parseRoute } from '../../../src/oci/route.ts';
import { Access, actionOf, type Grant } from '../../../src/policy/access.ts';
import { LoginThrottle } from '../../../src/policy/login-throttle.ts';
import { Passwords } from '../../../src/policy/passwords.ts';
import { Tokens } from '../../../src/policy/tokens.ts';
import { type MayPull, Passthrough } from '../../../src/pull/asking/client-logins.ts';
import { Namespaces } from '../../../src/pull/namespaces.ts';
import type { Registry } from '../../../src/pull/repository.ts';
import { type CapturedLog, captureLog } from '../../helpers/capture-log.ts';
import { nobody } from '../../helpers/facts.ts';
import { type ManualClock, makeManualClock } from '../../helpers/manual-clock.ts';
import { type Answer, request } from '../../helpers/request.ts';

/** Who the scene's users are: each password is the name, written twice. */
export type SceneOptions = {
  readonly anonymous?: readonly Grant[];
  readonly users?: Readonly<Record<string, readonly Grant[]>>;
  readonly loginHosts?: readonly string[];
  readonly realm?: string;
  readonly mayPull?: MayPull;
};

/** A server that has a gate and nothing behind it: what is let in is answered `{}`. */
export type GateScene = {
  readonly origin: string;
  readonly clock: ManualClock;
  readonly log: CapturedLog;
  readonly tokens: Tokens;
  /** What the log would say of each registry request, oldest first. */
  readonly facts: Facts[];
  /** Whether the last registry request was decided without a promise. */
  readonly atOnce: boolean[];
  /** Asks as `Host: HOST`, with further headers. */
  ask(path: string, options?: Ask): Promise<Answer>;
};

/** How to ask: `as` logs in with Basic. */
export type Ask = {
  readonly as?: string;
  readonly bearer?: string;
  readonly host?: string;
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
};

/** The `Authorization` of a name and a password, which is the name twice unless given. */
export function basic(name: string, password: string = name + name): string {
  return `Basic ${Buffer.from(`${name}:${password}`).toString('base64')}`;
}

/** Opens a {@link GateScene}: docker.io (the default), ghcr.io and local are known registries. */
export async function openGateScene(options: SceneOptions = {}): Promise<GateScene> {
  const clock = makeManualClock();
  const log = captureLog();
  const users = new Map(Object.entries(options.users ?? {}));
  const hashes = new Map([...users.keys()].map((name) => [name, hashSync(name + name, 4)]));
  const access = new Access({ anonymous: options.anonymous ?? [], users });
  const throttle = new LoginThrottle({ clock });
  const passwords = new Passwords({ clock, log: log.log, throttle, facts: nobody }, { hashes });
  const tokens = new Tokens({ clock }, { key: Buffer.alloc(32, 7) });
  const { mayPull } = options;
  const passthrough = mayPull && new Passthrough({ clock, mayPull, throttle });
  const authenticator = new Authenticator({ passwords, tokens }, { passthrough: mayPull !== undefined });
  const gatekeeper = new Gatekeeper(
    { access, authenticator, passthrough },
    { loginHosts: options.loginHosts ?? [], realm: options.realm },
  );
  const registries = ['docker.io', 'ghcr.io', 'local'].map(emptyRegistry);
  const aliases = new Map([['ghcr.mirror.test', 'ghcr.io']]);
  const namespaces = new Namespaces(registries, { aliases, defaultRegistry: 'docker.io' });
  const routes = tokenRoutes({ access, authenticator, tokens, log: log.log });
  const hono = getRequestListener(routes.fetch, { overrideGlobalObjects: false });
  const facts: Facts[] = [];
  const atOnce: boolean[] = [];

  const server = createServer(async (incoming, outgoing) => {
    if (incoming.url?.startsWith('/token')) return hono(incoming, outgoing);
    const exchange = beginExchange(incoming, outgoing);
    facts.push(exchange.facts);
    try {
      const route = parseRoute(incoming.url ?? '');
      if (incoming.url?.startsWith('/admin')) await gatekeeper.admin(exchange, undefined);
      else if (route.kind === 'base') await gatekeeper.base(exchange);
      else if ('address' in route) {
        const target = namespaces.resolve(route.address, incoming.headers.host);
        const action = actionOf(incoming.method);
        if (action === undefined) throw new OciError('UNSUPPORTED');
        const gate = gatekeeper.require(exchange, route, target, action);
        atOnce.push(gate === undefined);
        if (gate !== undefined) await gate;
      }
      sendWhole(exchange, {}, '{}');
    } catch (error) {
      sendError(exchange, error instanceof OciError ? error : new OciError('UNKNOWN', String(error)));
    }
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(async () => {
    server.close();
    passthrough?.close();
    await passwords.close();
  });
  const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return {
    origin,
    clock,
    log,
    tokens,
    facts,
    atOnce,
    ask: (path, { as, bearer, host, method, headers, body } = {}) => {
      const authorization = as === undefined ? bearer && `Bearer ${bearer}` : basic(as);
      return request(origin, path, {
        ...(method !== undefined && { method }),
        ...(body !== undefined && { body }),
        headers: {
          ...(authorization !== undefined && { authorization }),
          ...(host !== undefined && { host }),
          ...headers,
        },
      });
    },
  };
}

function emptyRegistry(name: string): Registry {
  return { name, source: { kind: 'mirror', upstreams: [] }, tagTtl: 0, negativeTtl: 0 };
}
