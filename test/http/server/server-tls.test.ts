import { mkdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { Agent, request as tlsRequest } from 'node:https';
import { connect } from 'node:net';
import { join } from 'node:path';
import { type ConnectionOptions, type TLSSocket, connect as tlsConnect } from 'node:tls';
import { Hono } from 'hono';
import { expect, onTestFinished, test, vi } from 'vitest';
import type { Exchange } from '../../../src/http/exchange.ts';
import type { RegistryApi } from '../../../src/http/registry/registry-api.ts';
import { sendWhole } from '../../../src/http/respond.ts';
import { HttpServer } from '../../../src/http/server/server.ts';
import { type CapturedLog, captureLog } from '../../helpers/capture-log.ts';
import { nobody } from '../../helpers/facts.ts';
import { patience } from '../../helpers/patience.ts';
import { temporaryDirectory } from '../../helpers/start-proxy.ts';
import { localhostTls, otherTls } from '../../upstream/tls-fixture.ts';
import { rsaTls } from './rsa-fixture.ts';

type Pair = { readonly cert: string; readonly key: string };

/** A server whose registry echoes the path, with its certificate in a folder of the test's own. */
async function tlsScene(pair: Pair) {
  const folder = await temporaryDirectory();
  const files = { certFile: join(folder, 'tls.crt'), keyFile: join(folder, 'tls.key') };
  writeFileSync(files.certFile, pair.cert);
  writeFileSync(files.keyFile, pair.key);
  return { folder, files, ...(await startServer(files)) };
}

async function startServer(files: { certFile: string; keyFile: string }) {
  const logs = captureLog();
  const registry = {
    handle: async (exchange: Exchange) => sendWhole(exchange, {}, `path ${exchange.incoming.url}`),
  } as unknown as RegistryApi;
  const operations = new Hono().get('/livez', (c) => c.text('ok'));
  const server = new HttpServer(
    { current: () => ({ registry, operations }), log: logs.log, facts: nobody },
    { drainTimeout: 1000, drainDelay: 0, writeStallTimeout: 60_000, tls: files },
  );
  onTestFinished(() => server.close());
  const { port } = await server.start({ host: '127.0.0.1', port: 0 });
  return { logs, server, port };
}

/** What the server answers to a client that trusts `ca` alone. */
function get(port: number, path: string, ca: string, agent?: Agent): Promise<string> {
  return new Promise((resolve, reject) => {
    const outgoing = tlsRequest({ host: '127.0.0.1', port, path, ca, agent: agent ?? false }, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('end', () => resolve(`${response.statusCode} ${Buffer.concat(chunks)}`));
    });
    outgoing.on('error', reject);
    outgoing.end();
  });
}

function handshake(port: number, options: ConnectionOptions = {}): Promise<TLSSocket> {
  return new Promise((resolve, reject) => {
    const socket = tlsConnect({ host: '127.0.0.1', port, rejectUnauthorized: false, ...options }, () => {
      resolve(socket);
    });
    socket.once('error', reject);
    onTestFinished(() => {
      socket.destroy();
    });
  });
}

/** Which certificate the server shows now. */
async function shown(port: number): Promise<string | undefined> {
  const socket = await handshake(port, { servername: 'localhost' });
  const subject = socket.getPeerCertificate().subject?.CN;
  socket.destroy();
  return [subject].flat()[0];
}

/** Waits until the server shows another certificate. */
async function becomes(port: number, subject: string): Promise<void> {
  await vi.waitUntil(async () => (await shown(port)) === subject, { timeout: patience });
}

async function warned(logs: CapturedLog): Promise<void> {
  await vi.waitUntil(() => logs.lines.some(({ level }) => level === 'warn'), { timeout: patience });
}

test.each([
  ['an ECDSA', localhostTls],
  ['an RSA', rsaTls],
])('serves the registry and the other routes with %s certificate', async (_kind, pair) => {
  const { port } = await tlsScene(pair);
  expect(await get(port, '/v2/a%2Fb/manifests/x', pair.cert)).toBe('200 path /v2/a%2Fb/manifests/x');
  expect(await get(port, '/livez', pair.cert)).toBe('200 ok');
});

test('speaks HTTP/1.1 only, even to clients that would rather speak HTTP/2', async () => {
  const { port } = await tlsScene(localhostTls);
  const socket = await handshake(port, { ALPNProtocols: ['h2', 'http/1.1'] });
  expect(socket.alpnProtocol).toBe('http/1.1');
});

test('speaks TLS 1.2 and 1.3, and nothing older', async () => {
  const { port, files } = await tlsScene(localhostTls);
  const exactly = (version: 'TLSv1.1' | 'TLSv1.2' | 'TLSv1.3') =>
    handshake(port, { minVersion: version, maxVersion: version, ciphers: 'ALL:@SECLEVEL=0' });
  const answers = async () => [
    (await exactly('TLSv1.2')).getProtocol(),
    (await exactly('TLSv1.3')).getProtocol(),
    await exactly('TLSv1.1').then(
      () => 'accepted',
      () => 'refused',
    ),
  ];
  expect(await answers()).toEqual(['TLSv1.2', 'TLSv1.3', 'refused']);
  writeFileSync(files.certFile, rsaTls.cert);
  writeFileSync(files.keyFile, rsaTls.key);
  await becomes(port, 'entrepot test rsa');
  expect(await answers()).toEqual(['TLSv1.2', 'TLSv1.3', 'refused']);
});

test('a client that comes back resumes its session', async () => {
  const { port } = await tlsScene(localhostTls);
  const first = await handshake(port);
  const session = await new Promise<Buffer>((resolve) => {
    first.once('session', resolve);
    first.resume();
  });
  const again = await handshake(port, { session });
  expect([first.isSessionReused(), again.isSessionReused()]).toEqual([false, true]);
});

test('a new pair of files is in force without a restart, and connections that are open stay', async () => {
  const { port, files, logs } = await tlsScene(localhostTls);
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  onTestFinished(() => agent.destroy());
  expect(await get(port, '/v2/', localhostTls.cert, agent)).toBe('200 path /v2/');
  writeFileSync(files.certFile, otherTls.cert);
  writeFileSync(files.keyFile, otherTls.key);
  await becomes(port, 'entrepot test other');
  expect(await get(port, '/v2/x', localhostTls.cert, agent)).toBe('200 path /v2/x');
  expect(logs.lines.filter(({ message }) => message === 'TLS certificate in force')).toHaveLength(2);
});

test('files behind links that are swapped, as Kubernetes does, are followed', async () => {
  const folder = await temporaryDirectory();
  const publish = (version: string, pair: Pair) => {
    mkdirSync(join(folder, version));
    writeFileSync(join(folder, version, 'tls.crt'), pair.cert);
    writeFileSync(join(folder, version, 'tls.key'), pair.key);
    symlinkSync(version, join(folder, '..data_tmp'));
    renameSync(join(folder, '..data_tmp'), join(folder, '..data'));
  };
  publish('..1', localhostTls);
  for (const name of ['tls.crt', 'tls.key']) symlinkSync(join('..data', name), join(folder, name));
  const { port } = await startServer({ certFile: join(folder, 'tls.crt'), keyFile: join(folder, 'tls.key') });
  expect(await shown(port)).toBe('entrepot test local');
  publish('..2', otherTls);
  await becomes(port, 'entrepot test other');
});

test.each([
  ['a key that is another certificate’s', { cert: otherTls.cert, key: localhostTls.key }],
  ['a key of another kind', { cert: rsaTls.cert, key: localhostTls.key }],
  ['a certificate that is no PEM', { cert: 'half written', key: otherTls.key }],
])('%s leaves the old pair in force, with one warning, until a good one comes', async (_what, bad) => {
  const { port, files, logs } = await tlsScene(localhostTls);
  writeFileSync(files.certFile, bad.cert);
  writeFileSync(files.keyFile, bad.key);
  await warned(logs);
  expect(await shown(port)).toBe('entrepot test local');
  expect(logs.text()).not.toContain('PRIVATE KEY');
  writeFileSync(files.certFile, rsaTls.cert);
  writeFileSync(files.keyFile, rsaTls.key);
  await becomes(port, 'entrepot test rsa');
  expect(logs.lines.filter(({ level }) => level === 'warn')).toHaveLength(1);
});

test('files that are gone for a moment leave the old pair in force', async () => {
  const { port, files, logs } = await tlsScene(localhostTls);
  rmSync(files.certFile);
  await warned(logs);
  expect(await shown(port)).toBe('entrepot test local');
});

test.each([
  ['a key that is another certificate’s', { cert: otherTls.cert, key: localhostTls.key }, 'TLS_FILES'],
  ['a key of another kind', { cert: rsaTls.cert, key: localhostTls.key }, 'TLS_FILES'],
  ['a key that is no PEM', { cert: localhostTls.cert, key: 'x' }, 'TLS_FILES'],
])('does not start with %s', async (_what, pair, code) => {
  await expect(tlsScene(pair)).rejects.toMatchObject({ code });
});

test('does not start without its files', async () => {
  const folder = await temporaryDirectory();
  const files = { certFile: join(folder, 'tls.crt'), keyFile: join(folder, 'tls.key') };
  await expect(startServer(files)).rejects.toMatchObject({ code: 'ENOENT' });
});

test('a client without TLS is told what is wrong, and the connection ends in order', async () => {
  const { port } = await tlsScene(localhostTls);
  const socket = connect(port, '127.0.0.1');
  let told = '';
  const ended = new Promise<string>((resolve, reject) => {
    socket.on('data', (chunk) => {
      told += String(chunk);
    });
    socket.on('end', () => resolve('end'));
    socket.on('error', reject);
  });
  socket.write('GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n');
  expect(await ended).toBe('end');
  expect(told).toMatch(/^HTTP\/1\.0 400 Bad Request\r\n/);
  expect(told).toContain('use https://');
  expect(await get(port, '/livez', localhostTls.cert)).toBe('200 ok');
});

test('bytes that are no protocol at all, and clients that hang up, do not disturb it', async () => {
  const { port, logs } = await tlsScene(localhostTls);
  for (const bytes of [Buffer.from([0x16, 0x03, 0x01, 0xff, 0xff, 0, 0]), Buffer.alloc(64), undefined]) {
    const socket = connect(port, '127.0.0.1');
    const closed = new Promise((resolve) => socket.once('close', resolve));
    socket.on('error', () => {});
    socket.resume();
    if (bytes === undefined) socket.destroy();
    else socket.end(bytes);
    await closed;
  }
  expect(await get(port, '/livez', localhostTls.cert)).toBe('200 ok');
  expect(logs.lines.filter(({ level }) => level === 'error')).toEqual([]);
});

test('closes at once when nothing is under way', async () => {
  const { server, port } = await tlsScene(localhostTls);
  const idle = new Agent({ keepAlive: true });
  onTestFinished(() => idle.destroy());
  await get(port, '/livez', localhostTls.cert, idle);
  await server.close();
  await expect(get(port, '/livez', localhostTls.cert)).rejects.toMatchObject({ code: 'ECONNREFUSED' });
});
