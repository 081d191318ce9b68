/**
 * Vitest setup file: bans every dial and every name lookup that leaves this machine.
 *
 * A banned dial fails as a refused connection would, and fails the running test again in `afterEach`, in case the
 * code under test swallowed the error. Worker threads and child processes have a `node:net` of their own that this
 * file cannot see: so `start-proxy.ts` only ever configures registries whose upstreams are on loopback.
 */
import dns from 'node:dns';
import { syncBuiltinESMExports } from 'node:module';
import net from 'node:net';
import { afterAll, afterEach } from 'vitest';

type AnyFunction = (this: unknown, ...args: unknown[]) => unknown;

/** The dials and lookups that were banned since the last check, as `tcp host:port` or `dns name`. */
export const bannedDials: string[] = [];

/** Whether a host is this machine: `localhost`, 127.0.0.0/8, ::1, or the wildcard addresses. */
export function isLoopbackHost(host: string): boolean {
  const bare = host.replace(/^\[|\]$/g, '').toLowerCase();
  if (bare === 'localhost' || bare === '::1' || bare === '::' || bare === '0.0.0.0') return true;
  return /^(?:::ffff:)?127\.\d{1,3}\.\d{1,3}\.\d{1,3}$/.test(bare);
}

class BannedDialError extends Error {
  readonly code = 'ERR_TEST_NETWORK_BAN';
}

function ban(what: string): BannedDialError {
  bannedDials.push(what);
  return new BannedDialError(`tests may only dial loopback addresses: ${what}`);
}

function connectOptions(args: unknown[]): {
  host?: unknown;
  port?: unknown;
  path?: unknown;
  lookup?: unknown;
} {
  const first = Array.isArray(args[0]) ? args[0][0] : args[0];
  if (typeof first === 'object' && first !== null) return first;
  if (typeof first === 'string' && Number.isNaN(Number(first))) return { path: first };
  return { port: first, host: typeof args[1] === 'string' ? args[1] : undefined };
}

const originalConnect = net.Socket.prototype.connect as unknown as AnyFunction;

function guardedConnect(this: net.Socket, ...args: unknown[]): unknown {
  const options = connectOptions(args);
  const host = typeof options.host === 'string' ? options.host : 'localhost';
  const local = typeof options.path === 'string' || isLoopbackHost(host);
  if (!local && typeof options.lookup === 'function') {
    options.lookup = guardedLookup(options.lookup as AnyFunction);
  } else if (!local) {
    const error = ban(`tcp ${host}:${String(options.port)}`);
    process.nextTick(() => this.destroy(error));
    return this;
  }
  return originalConnect.apply(this, args);
}

/** A lookup handed to `connect` by the code under test may map names, but only onto loopback. */
function guardedLookup(lookup: AnyFunction): AnyFunction {
  return (name, options, callback) =>
    lookup(name, options, (error: unknown, found: unknown, family: unknown) => {
      const addresses = Array.isArray(found) ? found.map((entry) => entry.address) : [found];
      const foreign = addresses.find((address) => typeof address === 'string' && !isLoopbackHost(address));
      const reply = callback as AnyFunction;
      if (foreign !== undefined) reply(ban(`tcp ${String(name)} (${foreign})`));
      else reply(error, found, family);
    });
}

net.Socket.prototype.connect = guardedConnect as unknown as typeof net.Socket.prototype.connect;

const queries = [
  'lookup',
  'resolve',
  'resolve4',
  'resolve6',
  'resolveAny',
  'resolveSrv',
  'resolveTxt',
  'reverse',
];

for (const query of queries) {
  guardQuery(dns as unknown as Record<string, AnyFunction>, query, (error, args) => {
    const callback = args.at(-1) as AnyFunction;
    process.nextTick(() => callback(error));
  });
  guardQuery(dns.promises as unknown as Record<string, AnyFunction>, query, (error) => Promise.reject(error));
}
syncBuiltinESMExports();

function guardQuery(
  module: Record<string, AnyFunction>,
  query: string,
  refuse: (error: Error, args: unknown[]) => unknown,
): void {
  const original = module[query];
  if (!original) return;
  module[query] = function guarded(...args) {
    const name = String(args[0]);
    return isLoopbackHost(name) ? original.apply(this, args) : refuse(ban(`dns ${name}`), args);
  };
}

function failOnBannedDials(): void {
  const found = bannedDials.splice(0);
  if (found.length > 0) throw new Error(`this test dialled outside loopback: ${found.join(', ')}`);
}

afterEach(failOnBannedDials);
afterAll(failOnBannedDials);
