import { createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { Hono } from 'hono';
import { describe, expect, onTestFinished, test } from 'vitest';
import { AdminClient } from '../../src/cli/admin/admin-client.ts';
import { requestTransport, socketTransport } from '../../src/cli/admin/admin-transport.ts';
import { ndjsonResponse } from '../../src/http/admin/ndjson.ts';
import { errorResponse } from '../../src/http/respond.ts';
import { ControlServer } from '../../src/http/server/control-server.ts';
import { neverAborted } from '../../src/lib/abort.ts';
import { silentLog } from '../../src/lib/log.ts';
import { OciError } from '../../src/oci/errors.ts';
import { SocketFile } from '../../src/store/disk/socket-file.ts';
import { makeGate, within } from '../helpers/gate.ts';
import { temporaryDirectory } from '../helpers/start-proxy.ts';

/** Routes that echo, refuse, and count lines as the gate lets them. */
function scriptedRoutes() {
  const next = makeGate();
  const gone = makeGate();
  async function* lines(signal: AbortSignal) {
    try {
      signal.addEventListener('abort', () => gone.open());
      yield { blob: 'é', done: 1 };
      await Promise.race([next.opened, gone.opened]);
      yield { done: 2 };
      if (!gone.isOpen) throw new OciError('MANIFEST_UNKNOWN', 'the third is not there');
    } finally {
      gone.open();
    }
  }
  const routes = new Hono()
    .all('/echo', async (c) => {
      return c.json({ method: c.req.method, query: c.req.query(), body: await c.req.text() });
    })
    .get('/refuse', (c) => errorResponse(new OciError('DENIED', 'not you'), c.req.method))
    .get('/page', (c) => c.html('<p>no JSON</p>'))
    .get('/lines', (c) => ndjsonResponse(lines(c.req.raw.signal), () => new OciError('UNKNOWN')))
    .get('/hang', async (c) => {
      await new Promise((resolve) => c.req.raw.signal.addEventListener('abort', resolve));
      gone.open();
      return c.text('');
    });
  return { routes, next, gone };
}

type Scene = Omit<ReturnType<typeof scriptedRoutes>, 'routes'> & { client: AdminClient };

async function overSocket(): Promise<Scene> {
  const { routes, ...gates } = scriptedRoutes();
  const path = join(await temporaryDirectory(), 'control.sock');
  const deps = { current: () => ({ control: routes }), file: new SocketFile(path), log: silentLog };
  const server = new ControlServer(deps, { drainTimeout: 1_000 });
  onTestFinished(() => server.close());
  await server.start();
  return { client: new AdminClient({ transport: socketTransport(path) }), ...gates };
}

async function inProcess(): Promise<Scene> {
  const { routes, ...gates } = scriptedRoutes();
  const fetch = async (request: Request) => routes.fetch(request);
  return {
    client: new AdminClient({ transport: requestTransport({ fetch, close: async () => {} }) }),
    ...gates,
  };
}

describe.each([
  ['over the socket', overSocket],
  ['in this process', inProcess],
])('the admin client %s', (_where, scene) => {
  test('sends queries and bodies, and leaves out what is undefined', async () => {
    const { client } = await scene();
    const query = { image: 'a/b:c&d', tag: undefined };
    expect(await client.call({ method: 'GET', path: '/echo', query }, neverAborted)).toEqual({
      method: 'GET',
      query: { image: 'a/b:c&d' },
      body: '',
    });
    const body = { images: ['é'] };
    expect(await client.call({ method: 'DELETE', path: '/echo', body }, neverAborted)).toEqual({
      method: 'DELETE',
      query: {},
      body: '{"images":["é"]}',
    });
  });

  test('tells the code and message of a refusal', async () => {
    const { client } = await scene();
    const refused = { code: 'DENIED', message: 'not you' };
    const request = { method: 'GET', path: '/refuse' } as const;
    await expect(client.call(request, neverAborted)).rejects.toMatchObject(refused);
    await expect(client.stream(request, neverAborted).next()).rejects.toMatchObject(refused);
  });

  test.each(['/page', '/nowhere'])('takes %s, which is no JSON, for a broken answer', async (path) => {
    const { client } = await scene();
    const call = client.call({ method: 'GET', path }, neverAborted);
    await expect(call).rejects.toMatchObject({ code: 'BROKEN_OFF' });
  });

  test('gives each line of a stream when it is there, and a failure midway as an error', async () => {
    const { client, next } = await scene();
    const lines = client.stream({ method: 'GET', path: '/lines' }, neverAborted);
    const first = await within(lines.next(), 'the first line');
    expect(first.value).toEqual({ blob: 'é', done: 1 });
    next.open();
    expect((await lines.next()).value).toEqual({ done: 2 });
    const failure = { code: 'MANIFEST_UNKNOWN', message: 'the third is not there' };
    await expect(lines.next()).rejects.toMatchObject(failure);
  });

  test('ends the request when the loop is left early', async () => {
    const { client, gone } = await scene();
    for await (const line of client.stream({ method: 'GET', path: '/lines' }, neverAborted)) {
      expect(line).toEqual({ blob: 'é', done: 1 });
      break;
    }
    await within(gone.opened, 'the end of the request');
  });

  test('an abort ends a stream midway with the signal’s reason', async () => {
    const { client, gone } = await scene();
    const controller = new AbortController();
    const lines = client.stream({ method: 'GET', path: '/lines' }, controller.signal);
    await lines.next();
    const reason = new Error('interrupted');
    controller.abort(reason);
    await within(gone.opened, 'the end of the request');
    await expect(rest(lines)).rejects.toBe(reason);
  });

  test('an abort ends a call that waits, and one that was not sent yet', async () => {
    const { client, gone } = await scene();
    const controller = new AbortController();
    const reason = new Error('interrupted');
    const call = client.call({ method: 'GET', path: '/hang' }, controller.signal);
    // The route says that it was reached by what the abort opens; an abort before would open nothing.
    await client.call({ method: 'GET', path: '/echo' }, neverAborted);
    controller.abort(reason);
    await expect(call).rejects.toBe(reason);
    await within(gone.opened, 'the end of the request');
    await expect(client.call({ method: 'GET', path: '/echo' }, controller.signal)).rejects.toBe(reason);
  });
});

async function rest(lines: AsyncIterable<unknown>): Promise<void> {
  for await (const _line of lines);
}

/** A client of a server that answers every request with these bytes and hangs up. */
async function answering(bytes: string): Promise<AdminClient> {
  const path = join(await temporaryDirectory(), 'control.sock');
  const server = createServer((socket: Socket) => {
    socket.once('data', () => socket.end(bytes));
    socket.on('error', () => {});
  });
  await new Promise<void>((resolve) => server.listen(path, resolve));
  onTestFinished(() => {
    server.close();
  });
  return new AdminClient({ transport: socketTransport(path) });
}

test.each([
  ['without an end', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n8\r\n{"a":1}\n\r\n'],
  ['in the middle of a line', 'HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n{"a":1}\n{"b"'],
  ['with a line that is no JSON', 'HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\n{"a":1}\nnope\n'],
])('a stream that ends %s is an error, after the lines that came', async (_how, bytes) => {
  const client = await answering(bytes);
  const seen: unknown[] = [];
  const read = async () => {
    for await (const line of client.stream({ method: 'GET', path: '/' }, neverAborted)) seen.push(line);
  };
  await expect(read()).rejects.toMatchObject({ code: 'BROKEN_OFF' });
  expect(seen).toEqual([{ a: 1 }]);
});
