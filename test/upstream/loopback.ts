import http, { type IncomingMessage, type ServerResponse } from 'node:http';
import https from 'node:https';
import net, { type AddressInfo, type Server, type Socket } from 'node:net';
import tls from 'node:tls';
import { onTestFinished } from 'vitest';
import type { BodySink, WireRequest, WireResponseHead } from '../../src/upstream/wire/messages.ts';

/** A key and its certificate. */
export type TlsPair = { readonly key: string; readonly cert: string };

/** A raw server that answers each request head with whatever `reply` writes; `n` counts connections from 0. */
export async function rawServer(
  reply: (socket: Socket, head: string, n: number) => void,
  options: { tls?: TlsPair; host?: string } = {},
): Promise<{ port: number; connections: () => number }> {
  let count = 0;
  const onSocket = (socket: Socket) => {
    const n = count++;
    let seen = '';
    socket.on('error', () => {});
    socket.on('data', (bytes) => {
      seen += bytes.toString('latin1');
      for (let end = seen.indexOf('\r\n\r\n'); end >= 0; end = seen.indexOf('\r\n\r\n')) {
        const head = seen.slice(0, end + 4);
        seen = seen.slice(end + 4);
        reply(socket, head, n);
      }
    });
  };
  const server = options.tls ? tls.createServer(options.tls, onSocket) : net.createServer(onSocket);
  const port = await listen(server, options.host ?? '127.0.0.1');
  return { port, connections: () => count };
}

/** An HTTP server with a journal of `METHOD url` lines. */
export async function httpServer(
  handler: (request: IncomingMessage, response: ServerResponse) => void,
  options: { tls?: TlsPair; host?: string } = {},
): Promise<{ port: number; origin: string; host: string; journal: IncomingMessage[] }> {
  const journal: IncomingMessage[] = [];
  const listener = (request: IncomingMessage, response: ServerResponse) => {
    journal.push(request);
    handler(request, response);
  };
  const server = options.tls ? https.createServer(options.tls, listener) : http.createServer(listener);
  const port = await listen(server, options.host ?? '127.0.0.1');
  const host = `127.0.0.1:${port}`;
  return { port, host, origin: `${options.tls ? 'https' : 'http'}://${host}`, journal };
}

/** A forward proxy that understands CONNECT; `refuse` is answered instead of opening a tunnel. */
export async function proxyServer(refuse?: string): Promise<{ port: number; heads: string[] }> {
  const heads: string[] = [];
  const { port } = await rawServer((socket: Socket, head) => {
    heads.push(head);
    if (!head.startsWith('CONNECT')) {
      socket.write('HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nproxied');
      return;
    }
    if (refuse !== undefined) {
      socket.write(refuse);
      return;
    }
    const [host = '', to = ''] = (head.split(' ')[1] ?? '').split(':');
    socket.removeAllListeners('data');
    const onward = net.connect(Number(to), host, () => {
      socket.write('HTTP/1.1 200 Connection established\r\n\r\n');
      socket.pipe(onward).pipe(socket);
    });
    onward.on('error', () => socket.destroy());
    socket.on('close', () => onward.destroy());
  });
  return { port, heads };
}

/** Listens until the test ends, then closes with every connection. */
export async function listen(server: Server, host: string): Promise<number> {
  const sockets = new Set<Socket>();
  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
  });
  await new Promise<void>((resolve) => server.listen(0, host, resolve));
  onTestFinished(async () => {
    const closed = new Promise((resolve) => server.close(resolve));
    for (const socket of sockets) socket.destroy();
    await closed;
  });
  return (server.address() as AddressInfo).port;
}

/** A wire request with patient limits. */
export function wireRequest(url: string, more: Partial<WireRequest> = {}): WireRequest {
  // Some tests hand over what is no URL.
  const upstream = URL.parse(url)?.origin ?? 'http://127.0.0.1';
  const egress = { upstream, trusted: [] };
  return {
    url,
    headers: {},
    egress,
    connectTimeout: 5000,
    headersTimeout: 5000,
    stallTimeout: 5000,
    ...more,
  };
}

/** A sink that keeps everything; `verdict` is what it says to each head. */
export function keepingSink(verdict: 'read' | 'collect' = 'read') {
  const heads: WireResponseHead[] = [];
  const chunks: Buffer[] = [];
  const sink: BodySink = {
    head: (head) => {
      heads.push(head);
      return verdict;
    },
    chunk: (bytes) => {
      chunks.push(Buffer.from(bytes));
    },
  };
  return { sink, heads, bytes: () => Buffer.concat(chunks), chunks };
}
