import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { ServerResponse } from 'node:http';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { connect as tlsConnect } from 'node:tls';
import type { HttpBindings } from '@hono/node-server';
import { RESPONSE_ALREADY_SENT } from '@hono/node-server/utils/response';
import { Hono } from 'hono';
import { expect, onTestFinished, test, vi } from 'vitest';
import type { Exchange } from '../../../src/http/exchange.ts';
import type { RegistryApi } from '../../../src/http/registry/registry-api.ts';
import { sendWhole } from '../../../src/http/respond.ts';
import { HttpServer } from '../../../src/http/server/server.ts';
import { silentLog } from '../../../src/lib/log.ts';
import { OciError } from '../../../src/oci/errors.ts';
import { within } from '../../helpers/gate.ts';
import { patience } from '../../helpers/patience.ts';
import { temporaryDirectory } from '../../helpers/start-proxy.ts';
import { localhostTls } from '../../upstream/tls-fixture.ts';

/** More than the kernel takes in between a server and a client that does not read. */
const size = 32 * 1024 * 1024;
const body = Buffer.alloc(size, 'x');

const refusal = 'no! '.repeat(size / 4);

/** How an answer ended: whether all of it was handed over, and if not why. */
type Ended = { readonly path: string; readonly whole: boolean; readonly because: string | undefined };

async function scene(options: { stall: number; tls?: boolean }) {
  const tls = options.tls ? await certificate() : undefined;
  const made = Promise.withResolvers<ServerResponse>();
  const ends: Ended[] = [];
  const heard = Promise.withResolvers<Ended>();
  const note = (path: string, { errored, writableFinished }: ServerResponse) => {
    ends.push({ path, whole: writableFinished, because: errored?.message });
    heard.resolve({ path, whole: writableFinished, because: errored?.message });
  };
  const registry = {
    handle: async (exchange: Exchange) => {
      const { url = '' } = exchange.incoming;
      if (url.endsWith('/refused')) throw new OciError('DENIED', refusal);
      sendWhole(exchange, {}, url.endsWith('/small') ? body.subarray(0, 1_000) : body);
    },
  } as unknown as RegistryApi;
  const operations = new Hono<{ Bindings: HttpBindings }>();
  operations.use(async ({ env, req }, next) => {
    const outgoing = env.outgoing as ServerResponse;
    outgoing.once('close', () => note(req.path, outgoing));
    await next();
  });
  operations.get('/whole', (c) => c.body(body));
  operations.get('/made', (c) => {
    made.resolve(c.env.outgoing as ServerResponse);
    return RESPONSE_ALREADY_SENT;
  });
  operations.get('/stream', (c) => {
    let left = 64;
    const pull = (controller: ReadableStreamDefaultController<Uint8Array>) => {
      if (left-- === 0) controller.close();
      else controller.enqueue(new Uint8Array(size / 64));
    };
    return c.body(new ReadableStream({ pull }));
  });
  const server = new HttpServer(
    {
      current: () => ({ registry, operations: operations as unknown as Hono }),
      log: silentLog,
      facts: {
        tell: (fact) => {
          if (fact.kind !== 'request-ended') return;
          const { incoming, outgoing, facts } = fact.exchange;
          const ended = {
            path: incoming.url ?? '',
            whole: outgoing.writableFinished,
            because: facts.because,
          };
          ends.push(ended);
          heard.resolve(ended);
        },
      },
    },
    { drainTimeout: 0, drainDelay: 0, writeStallTimeout: options.stall, tls },
  );
  onTestFinished(() => server.close());
  const { port } = await server.start({ host: '127.0.0.1', port: 0 });
  const open = async (...paths: string[]): Promise<Socket> => {
    const socket = tls
      ? tlsConnect({ port, host: '127.0.0.1', rejectUnauthorized: false })
      : connect({ port, host: '127.0.0.1' });
    socket.on('error', () => undefined);
    onTestFinished(() => {
      socket.destroy();
    });
    await once(socket, tls ? 'secureConnect' : 'connect');
    socket.write(paths.map((path) => `GET ${path} HTTP/1.1\r\nHost: x\r\n\r\n`).join(''));
    return socket;
  };
  return { open, ends, ended: heard.promise, made: made.promise };
}

async function certificate() {
  const folder = await temporaryDirectory();
  const files = { certFile: join(folder, 'tls.crt'), keyFile: join(folder, 'tls.key') };
  writeFileSync(files.certFile, localhostTls.cert);
  writeFileSync(files.keyFile, localhostTls.key);
  return files;
}

const cut = { whole: false, because: 'the client took no bytes for 150ms' };

test.each([
  ['a manifest', '/v2/manifest', false],
  ['a manifest over TLS', '/v2/manifest', true],
  ['another route', '/whole', false],
  ['another route over TLS', '/whole', true],
  ['a body that is made as it is sent', '/stream', false],
] as const)('a client that takes nothing of %s is cut off', async (_what, path, tls) => {
  const { open, ended } = await scene({ stall: 150, tls });
  await open(path);
  expect(await within(ended, 'the cut')).toEqual({ path, ...cut });
});

test('a client that takes nothing of an error is cut off', async () => {
  const { open, ended } = await scene({ stall: 150 });
  await open('/v2/refused');
  expect(await within(ended, 'the cut')).toMatchObject({ whole: false });
});

test('a client that asks and asks and reads nothing is cut off', async () => {
  const { open, ends } = await scene({ stall: 150 });
  const socket = await open();
  const requests = 'GET /v2/small HTTP/1.1\r\nHost: x\r\n\r\n'.repeat(1_000);
  const flood = () => {
    while (!socket.destroyed && socket.write(requests));
  };
  socket.on('drain', flood);
  flood();
  await vi.waitUntil(() => ends.some(({ whole }) => !whole), { timeout: patience, interval: 5 });
  expect(ends.find(({ whole }) => !whole)?.because).toBe(cut.because);
});

test.each([false, true])('a client that reads slowly, but reads, gets all of it (TLS: %s)', async (tls) => {
  const stall = 800;
  const { open, ended } = await scene({ stall, tls });
  const socket = await open('/v2/manifest');
  const started = performance.now();
  let received = 0;
  // Its line is what is slow: this much at a time.
  const pieces = setInterval(() => socket.resume(), 35);
  onTestFinished(() => clearInterval(pieces));
  socket.on('data', (chunk: Buffer) => {
    received += chunk.length;
    if (received % (512 * 1024) < chunk.length) socket.pause();
  });
  expect(await within(ended, 'the end')).toMatchObject({ whole: true, because: undefined });
  expect(performance.now() - started).toBeGreaterThan(2 * stall);
});

test('an answer that is long in coming is no fault of the client’s', async () => {
  const { open, ended, made } = await scene({ stall: 30 });
  const socket = await open('/made');
  const outgoing = await made;
  socket.resume();
  await once(outgoing, 'timeout');
  outgoing.end('here it is');
  expect(await within(ended, 'the end')).toEqual({ path: '/made', whole: true, because: undefined });
});

test('an answer that the system takes whole at once costs no timer', async () => {
  const { open, ends } = await scene({ stall: 150 });
  const timers = vi.spyOn(ServerResponse.prototype, 'setTimeout');
  onTestFinished(() => timers.mockRestore());
  const socket = await open('/v2/small', '/v2/small', '/v2/small');
  socket.resume();
  await vi.waitUntil(() => ends.length === 3);
  expect(timers).not.toHaveBeenCalled();
});
