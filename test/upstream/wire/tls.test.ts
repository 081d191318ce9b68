import net from 'node:net';
import { setImmediate } from 'node:timers/promises';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { ReadBuffer } from '../../../src/upstream/wire/read-buffer.ts';
import { Wire } from '../../../src/upstream/wire/wire.ts';
import { httpServer, keepingSink, listen, proxyServer, rawServer, wireRequest } from '../loopback.ts';
import { localhostTls, otherTls } from '../tls-fixture.ts';

const never = new AbortController().signal;
const body = Buffer.alloc(2 * 1024 * 1024, 'over the wire ');

function openWire(): Wire {
  const wire = new Wire();
  onTestFinished(() => wire.close());
  return wire;
}

async function get(url: string, more = {}) {
  const sink = keepingSink();
  const result = await openWire().get(wireRequest(url, more), sink.sink, never);
  return { result, bytes: sink.bytes() };
}

describe('TLS', () => {
  it.each([['localhost'], ['127.0.0.1']])(
    'verifies the certificate for %s against the given roots',
    async (host) => {
      const { port } = await httpServer((_request, response) => response.end(body), {
        tls: localhostTls,
        host: host === 'localhost' ? '127.0.0.1' : host,
      });
      const { result, bytes } = await get(`https://${host}:${port}/`, { ca: localhostTls.cert });
      expect(result).toMatchObject({ kind: 'complete', bytes: body.length });
      expect(bytes.equals(body)).toBe(true);
    },
  );

  it('refuses what the default roots do not vouch for', async () => {
    const { port, journal } = await httpServer((_request, response) => response.end(), { tls: localhostTls });
    const { result } = await get(`https://localhost:${port}/`);
    expect(result).toMatchObject({ kind: 'failed', phase: 'connect', reason: 'tls' });
    expect(journal).toHaveLength(0);
  });

  it('refuses a certificate for another host', async () => {
    const { port, journal } = await httpServer((_request, response) => response.end(), { tls: otherTls });
    const { result } = await get(`https://localhost:${port}/`, { ca: otherTls.cert });
    expect(result).toMatchObject({ kind: 'failed', phase: 'connect', reason: 'tls' });
    expect(journal).toHaveLength(0);
  });

  it('fails where the peer does not speak it, or says nothing', async () => {
    const plain = net.createServer((socket) =>
      socket.on('error', () => {}).once('data', () => socket.end('HTTP/1.1 400 Bad\r\n\r\n')),
    );
    const { result } = await get(`https://127.0.0.1:${await listen(plain, '127.0.0.1')}/`);
    expect(result).toMatchObject({ kind: 'failed', phase: 'connect', reason: 'tls' });
    const mute = net.createServer((socket) => socket.on('error', () => {}).resume());
    const silent = await get(`https://127.0.0.1:${await listen(mute, '127.0.0.1')}/`, { connectTimeout: 50 });
    expect(silent.result).toMatchObject({ kind: 'failed', phase: 'connect', reason: 'timeout' });
  });

  it('tells a body that breaks off', async () => {
    const { port } = await rawServer(
      (socket) => socket.end('HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello'),
      { tls: localhostTls },
    );
    const { result } = await get(`https://127.0.0.1:${port}/`, { ca: localhostTls.cert });
    expect(result).toMatchObject({ kind: 'failed', phase: 'body', reason: 'cut', bytes: 5 });
  });

  it("keeps a slow sink's bytes untouched while decrypted records still arrive", async () => {
    const { port } = await httpServer((_request, response) => response.end(body), { tls: localhostTls });
    const arrivals = vi.spyOn(ReadBuffer.prototype, 'wrote');
    onTestFinished(() => arrivals.mockRestore());
    let at = 0;
    let meanwhile = 0;
    const chunk = async (bytes: Buffer) => {
      const copy = Buffer.from(bytes);
      const before = arrivals.mock.calls.length;
      // What was decrypted when the socket was paused arrives before the event loop turns.
      await setImmediate();
      meanwhile += arrivals.mock.calls.length - before;
      expect(bytes.equals(copy)).toBe(true);
      expect(copy.equals(body.subarray(at, at + copy.length))).toBe(true);
      at += copy.length;
    };
    const request = wireRequest(`https://127.0.0.1:${port}/`, { ca: localhostTls.cert });
    await openWire().get(request, { head: () => 'read', chunk }, never);
    expect(at).toBe(body.length);
    expect(meanwhile).toBeGreaterThan(0);
  });
});

describe('an HTTP proxy', () => {
  it('tunnels https, verified end to end, and alone sees its own credentials', async () => {
    const { port, journal } = await httpServer((_request, response) => response.end(body), {
      tls: localhostTls,
    });
    const proxy = await proxyServer();
    const wire = openWire();
    for (let round = 0; round < 2; round++) {
      const sink = keepingSink();
      const request = wireRequest(`https://localhost:${port}/secret?signature=x`, {
        ca: localhostTls.cert,
        headers: { authorization: 'Bearer abc' },
        proxy: { url: `http://us%40er:p%3Ass@127.0.0.1:${proxy.port}` },
      });
      const result = await wire.get(request, sink.sink, never);
      expect(result).toMatchObject({ kind: 'complete', bytes: body.length });
      expect(sink.bytes().equals(body)).toBe(true);
    }
    expect(proxy.heads).toEqual([
      `CONNECT localhost:${port} HTTP/1.1\r\nHost: localhost:${port}\r\n` +
        `Proxy-Authorization: Basic ${Buffer.from('us@er:p:ss').toString('base64')}\r\n\r\n`,
    ]);
    expect(journal[0]?.headers['proxy-authorization']).toBeUndefined();
    expect(journal[0]?.headers.authorization).toBe('Bearer abc');
  });

  it('does not vouch for the certificate behind it', async () => {
    const { port, journal } = await httpServer((_request, response) => response.end(), { tls: localhostTls });
    const proxy = await proxyServer();
    const { result } = await get(`https://localhost:${port}/`, {
      proxy: { url: `http://127.0.0.1:${proxy.port}` },
    });
    expect(result).toMatchObject({ kind: 'failed', phase: 'connect', reason: 'tls' });
    expect(journal).toHaveLength(0);
  });

  it('is sent the absolute form for http', async () => {
    const proxy = await proxyServer();
    const { bytes } = await get('http://registry.test/v2/?a=b', {
      proxy: { url: `http://user:pass@127.0.0.1:${proxy.port}` },
    });
    expect(bytes.toString()).toBe('proxied');
    expect(proxy.heads[0]).toMatch(
      /^GET http:\/\/registry\.test\/v2\/\?a=b HTTP\/1\.1\r\nHost: registry\.test\r\n/,
    );
    expect(proxy.heads[0]).toContain(
      `Proxy-Authorization: Basic ${Buffer.from('user:pass').toString('base64')}\r\n`,
    );
  });

  it.each([
    ['asks for credentials', 'HTTP/1.1 407 Auth\r\n\r\n', 'refused'],
    ['refuses', 'HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n', 'refused'],
    ['says more than its answer', 'HTTP/1.1 200 OK\r\n\r\nextra', 'malformed'],
    ['does not speak HTTP', 'SSH-2.0-OpenSSH\r\n\r\n', 'malformed'],
  ])('that %s is a failure to connect', async (_what, refuse, reason) => {
    const proxy = await proxyServer(refuse);
    const { result } = await get('https://registry.test/', {
      proxy: { url: `http://127.0.0.1:${proxy.port}` },
    });
    expect(result).toMatchObject({ kind: 'failed', phase: 'connect', reason });
  });
});
