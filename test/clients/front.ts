/**
 * A process of its own: a reverse proxy in front of one registry that counts what it passes on, and fails on demand.
 * It is forked with {@link FrontOptions} as its argument and spoken to over IPC, see {@link FrontRequest}.
 */
import { readFileSync } from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import { setTimeout as wait } from 'node:timers/promises';
import { type Login, LoginGuard } from './login-guard.ts';

/** Where the registry is, and what the front is like. */
export type FrontOptions = {
  readonly registryPort: number;
  /** Where it listens: any port of 127.0.0.1 unless told. */
  readonly listen?: { readonly host: string; readonly port: number };
  /** The files of its certificate and key, when it speaks HTTPS. */
  readonly tls?: { readonly cert: string; readonly key: string };
  /** Whom alone it lets in. */
  readonly login?: Login;
};

/** One request that reached the front; `bytes` are those of the response's body that were passed on. */
export type Passed = {
  readonly method: string;
  readonly url: string;
  readonly range: string | undefined;
  readonly authorization: string | undefined;
  status: number;
  bytes: number;
};

/** What the front can be asked; each answer carries the same `id`. */
export type FrontRequest = { readonly id: number } & (
  | { readonly kind: 'journal' }
  | { readonly kind: 'forget' }
  /** Resets every connection, old and new, and counts the new ones. */
  | { readonly kind: 'refuse' }
  /** Ends `refuse`. */
  | { readonly kind: 'accept' }
  /** Bytes a second over all blobs together; 0 is as fast as it goes. */
  | { readonly kind: 'throttle'; readonly rate: number }
  /** Answered once so many bytes of the blob were passed on. */
  | { readonly kind: 'await'; readonly digest: string; readonly bytes: number }
);

/** The answer to `journal`: `refused` counts the connections that were reset since `refuse`. */
export type FrontAnswer = {
  readonly id: number;
  readonly passed: readonly Passed[];
  readonly refused: number;
};

const { registryPort, listen, tls, login } = JSON.parse(process.argv[2] ?? '') as FrontOptions;
const guard = login && new LoginGuard(login);
const agent = new http.Agent({ keepAlive: true });
const sockets = new Set<Socket>();
const waiters: { digest: string; bytes: number; answer: () => void }[] = [];
let passed: Passed[] = [];
let refused = 0;
let refusing = false;
let rate = 0;
let freeAt = 0;

const server = tls
  ? https.createServer({ cert: readFileSync(tls.cert), key: readFileSync(tls.key) }, answer)
  : http.createServer(answer);

function answer(request: http.IncomingMessage, response: http.ServerResponse): void {
  const entry: Passed = {
    method: request.method ?? '',
    url: request.url ?? '',
    range: request.headers.range,
    authorization: request.headers.authorization,
    status: 0,
    bytes: 0,
  };
  passed.push(entry);
  const { method, url, headers } = request;
  const stopped = guard?.judge(request);
  if (stopped) {
    entry.status = stopped.status;
    response.writeHead(stopped.status, stopped.headers).end(stopped.body);
    return;
  }
  const onward = http.request({ port: registryPort, host: '127.0.0.1', method, path: url, headers, agent });
  request.pipe(onward);
  response.on('close', () => onward.destroy());
  onward.on('error', () => response.destroy());
  onward.on('response', (answer) => {
    entry.status = answer.statusCode ?? 0;
    response.writeHead(entry.status, answer.rawHeaders);
    passOn(answer, response, entry).catch(() => response.destroy());
  });
}

server.on('connection', (socket) => {
  sockets.add(socket);
  socket.on('close', () => sockets.delete(socket));
  if (!refusing) return;
  refused += 1;
  socket.resetAndDestroy();
});

server.listen(listen ?? { host: '127.0.0.1', port: 0 }, () =>
  process.send?.({ port: (server.address() as AddressInfo).port }),
);

process.on('message', (request: FrontRequest) => {
  const tell = () => process.send?.({ id: request.id, passed, refused } satisfies FrontAnswer);
  switch (request.kind) {
    case 'journal':
      break;
    case 'forget':
      passed = [];
      refused = 0;
      break;
    case 'refuse':
      refusing = true;
      for (const socket of sockets) socket.resetAndDestroy();
      break;
    case 'accept':
      refusing = false;
      break;
    case 'throttle':
      rate = request.rate;
      break;
    case 'await':
      waiters.push({ digest: request.digest, bytes: request.bytes, answer: tell });
      answerWaiters();
      return;
  }
  tell();
});

process.on('disconnect', () => process.exit(0));

async function passOn(from: http.IncomingMessage, to: http.ServerResponse, entry: Passed): Promise<void> {
  const isBlob = entry.url.includes('/blobs/');
  for await (const piece of from as AsyncIterable<Buffer>) {
    if (isBlob && rate > 0) await turn(piece.length);
    if (to.destroyed) return;
    entry.bytes += piece.length;
    const room = to.write(piece);
    answerWaiters();
    if (!room) await new Promise<void>((resolve) => onceEither(to, resolve));
  }
  to.end();
}

/** Waits until the shared rate leaves room for so many bytes. */
async function turn(bytes: number): Promise<void> {
  const now = performance.now();
  const start = Math.max(now, freeAt);
  freeAt = start + (bytes / rate) * 1000;
  if (start > now) await wait(start - now);
}

function onceEither(response: http.ServerResponse, done: () => void): void {
  const settle = () => {
    response.off('drain', settle);
    response.off('close', settle);
    done();
  };
  response.on('drain', settle);
  response.on('close', settle);
}

function answerWaiters(): void {
  for (let index = waiters.length - 1; index >= 0; index -= 1) {
    const waiter = waiters[index];
    if (!waiter) continue;
    const entries = passed.filter((entry) => entry.method === 'GET' && entry.url.includes(waiter.digest));
    if (entries.reduce((sum, entry) => sum + entry.bytes, 0) < waiter.bytes) continue;
    waiters.splice(index, 1);
    waiter.answer();
  }
}
