import type { IncomingMessage, ServerResponse } from 'node:http';
import { describe, expect, it } from 'vitest';
import { manifestAccept } from '../../../src/oci/media-types.ts';
import { httpServer, proxyServer, rawServer } from '../loopback.ts';
import { digest, must, never, openClient, tag } from '../open-client.ts';
import { localhostTls } from '../tls-fixture.ts';

const oci = 'application/vnd.oci.image.manifest.v1+json';

async function clientOf(handler: (request: IncomingMessage, response: ServerResponse) => void, more = {}) {
  const server = await httpServer(handler);
  return { ...openClient(server.origin, more), server };
}

describe('getManifest', () => {
  it('returns the bytes as sent, with their bare media type and the digest as a hint', async () => {
    const { client, server } = await clientOf((_request, response) => {
      response.writeHead(200, { 'content-type': `${oci}; charset=utf-8`, 'docker-content-digest': digest });
      response.end('{ "a":1 }\n');
    });
    const result = await client.getManifest('library/nginx', tag, 100, never);
    expect(result).toEqual({
      kind: 'ok',
      upstream: server.host,
      value: { bytes: Buffer.from('{ "a":1 }\n'), mediaType: oci, digestHint: digest },
    });
    const headers = must(server.journal[0]).headers;
    expect(headers).toMatchObject({
      accept: manifestAccept,
      'user-agent': 'entrepot/test',
      'accept-encoding': 'identity',
    });
  });

  it('asks for a digest by its digest', async () => {
    const { client, server } = await clientOf((_request, response) => response.end());
    await client.getManifest('a/b', { kind: 'digest', digest }, 100, never);
    expect(server.journal[0]?.url).toBe(`/v2/a/b/manifests/${digest}`);
  });

  it.each([
    [
      'too long by its own account',
      200,
      { 'content-type': oci, 'content-length': '101' },
      'x'.repeat(101),
      'content',
    ],
    [
      'too long without saying so',
      200,
      { 'content-type': oci, 'transfer-encoding': 'chunked' },
      'x'.repeat(101),
      'content',
    ],
    ['a web page', 200, { 'content-type': 'text/html' }, '<html>', 'content'],
    [
      'of a generic type that the body does not settle',
      200,
      { 'content-type': 'application/json' },
      '{}',
      'content',
    ],
    ['compressed', 200, { 'content-type': oci, 'content-encoding': 'gzip' }, 'x', 'protocol'],
    ['a server error', 503, {}, 'x'.repeat(200_000), 'status'],
    ['a bad request', 400, {}, '{}', 'status'],
    ['a partial answer', 206, { 'content-type': oci }, '{}', 'status'],
    ['not modified', 304, {}, '', 'status'],
  ])('is unavailable when the answer is %s', async (_what, status, headers, body, reason) => {
    const { client } = await clientOf((_request, response) => response.writeHead(status, headers).end(body));
    const result = await client.getManifest('a', tag, 100, never);
    expect(result).toMatchObject({
      kind: 'unavailable',
      cause: { code: 'UPSTREAM', op: 'get-manifest', reason },
    });
  });

  it.each([
    [404, {}, { kind: 'missing' }],
    [403, {}, { kind: 'denied', status: 403 }],
    [429, { 'retry-after': 'Thu, 01 Jan 2026 00:00:20 GMT' }, { kind: 'limited', retryAfter: 20 }],
  ])('tells %s from being down', async (status, headers, expected) => {
    const { client, server } = await clientOf((_request, response) =>
      response.writeHead(status, headers).end(),
    );
    expect(await client.getManifest('a', tag, 100, never)).toMatchObject({
      upstream: server.host,
      ...expected,
    });
  });

  it('is unavailable when nobody answers, in time, in full, or in HTTP', async () => {
    const get = (port: number, more = {}) => {
      return openClient(`http://127.0.0.1:${port}`, more).client.getManifest('a', tag, 100, never);
    };
    const reason = async (port: number, more = {}) => {
      const result = await get(port, more);
      return result.kind === 'unavailable' ? result.cause.reason : result.kind;
    };
    const { port: mute } = await rawServer(() => {});
    expect(await reason(mute, { headersTimeout: 50 })).toBe('timeout');
    const { port: cut } = await rawServer((socket) =>
      socket.end(`HTTP/1.1 200 OK\r\nContent-Type: ${oci}\r\nContent-Length: 9\r\n\r\n{}`),
    );
    expect(await reason(cut)).toBe('unreachable');
    const { port: stalled } = await rawServer((socket) =>
      socket.write(`HTTP/1.1 200 OK\r\nContent-Type: ${oci}\r\nContent-Length: 9\r\n\r\n{}`),
    );
    expect(await reason(stalled, { stallTimeout: 50 })).toBe('timeout');
    const { port: other } = await rawServer((socket) => socket.end('SSH-2.0\r\n\r\n'));
    expect(await reason(other)).toBe('protocol');
    const result = await openClient(`http://127.0.0.2:${mute}`).client.getManifest('a', tag, 100, never);
    expect(result).toMatchObject({ kind: 'unavailable', cause: { reason: 'unreachable' } });
  });

  it('verifies TLS', async () => {
    const server = await httpServer(
      (_request, response) => response.writeHead(200, { 'content-type': oci }).end('{}'),
      { tls: localhostTls },
    );
    const trusting = openClient(server.origin, { ca: localhostTls.cert }).client;
    expect(await trusting.getManifest('a', tag, 100, never)).toMatchObject({ kind: 'ok' });
    const result = await openClient(server.origin).client.getManifest('a', tag, 100, never);
    expect(result).toMatchObject({ kind: 'unavailable', cause: { reason: 'tls' } });
  });

  it('rejects with the reason of an abort', async () => {
    const asked = Promise.withResolvers<void>();
    const { client, observed } = await clientOf(() => asked.resolve());
    const controller = new AbortController();
    const answer = client.getManifest('a', tag, 100, controller.signal);
    await asked.promise;
    controller.abort(new Error('left'));
    await expect(answer).rejects.toThrow('left');
    expect(observed).toEqual(['get-manifest aborted']);
  });

  it('goes through the outbound proxy, except where exempt', async () => {
    const proxy = await httpServer((_request, response) =>
      response.writeHead(200, { 'content-type': oci }).end('{}'),
    );
    const through = openClient('http://registry.test', {
      proxy: { http: `http://me:s3cret@${proxy.host}`, noProxy: ['.other.test'] },
    });
    expect(await through.client.getManifest('a', tag, 100, never)).toMatchObject({ kind: 'ok' });
    expect(proxy.journal[0]?.url).toBe('http://registry.test/v2/a/manifests/v1');
    expect(proxy.journal[0]?.headers['proxy-authorization']).toBe(
      `Basic ${Buffer.from('me:s3cret').toString('base64')}`,
    );
  });
});

it('tunnels https through the outbound proxy, verified end to end', async () => {
  const server = await httpServer(
    (_request, response) => response.writeHead(200, { 'content-type': oci }).end('{}'),
    {
      tls: localhostTls,
    },
  );
  const { port, heads } = await proxyServer();
  const proxy = { https: `http://me:s3cret@127.0.0.1:${port}`, noProxy: [] };
  const trusting = openClient(server.origin, { proxy, ca: localhostTls.cert }).client;
  expect(await trusting.getManifest('a', tag, 100, never)).toMatchObject({ kind: 'ok' });
  expect(heads[0]).toMatch(/^CONNECT 127\.0\.0\.1:/);
  expect(heads[0]?.toLowerCase()).toContain('proxy-authorization: basic ');
  expect(server.journal[0]?.headers).not.toHaveProperty('proxy-authorization');
  const doubting = openClient(server.origin, { proxy }).client;
  expect(await doubting.getManifest('a', tag, 100, never)).toMatchObject({ cause: { reason: 'tls' } });
  const exempt = openClient(server.origin, {
    proxy: { ...proxy, noProxy: ['127.0.0.1'] },
    ca: localhostTls.cert,
  });
  expect(await exempt.client.getManifest('a', tag, 100, never)).toMatchObject({ kind: 'ok' });
  expect(heads).toHaveLength(2);
  const { port: refusing } = await proxyServer('HTTP/1.1 407 No\r\n\r\n');
  const refused = openClient(server.origin, {
    proxy: { https: `http://127.0.0.1:${refusing}`, noProxy: [] },
  });
  expect(await refused.client.getManifest('a', tag, 100, never)).toMatchObject({
    cause: { reason: 'unreachable', message: 'the proxy refused the tunnel' },
  });
});

describe('a redirected manifest', () => {
  it('is followed to another origin without credentials, and nothing is authenticated there', async () => {
    const away = await httpServer((_request, response) =>
      response.writeHead(200, { 'content-type': oci }).end('{}'),
    );
    const { client } = await clientOf(
      (request, response) => {
        if (request.headers.authorization === undefined)
          response.writeHead(401, { 'www-authenticate': 'Basic' }).end();
        else response.writeHead(307, { location: `${away.origin}/v2/b/manifests/v1` }).end();
      },
      { username: 'me', password: 's3cret' },
    );
    expect(await client.getManifest('a', tag, 100, never)).toMatchObject({ kind: 'ok' });
    expect(away.journal).toHaveLength(1);
    expect(away.journal[0]?.headers.authorization).toBeUndefined();
    expect(away.journal[0]?.headers.accept).toBe(manifestAccept);
  });

  it('is given up after five hops', async () => {
    const { client, server } = await clientOf((request, response) => {
      response.writeHead(302, { location: `${request.url}x` }).end();
    });
    expect(await client.getManifest('a', tag, 100, never)).toMatchObject({
      kind: 'unavailable',
      cause: { reason: 'redirect' },
    });
    expect(server.journal).toHaveLength(6);
  });
});

describe('headManifest', () => {
  it('returns what the head says', async () => {
    const { client, server } = await clientOf((_request, response) => {
      response
        .writeHead(200, { 'content-type': oci, 'content-length': '42', 'docker-content-digest': digest })
        .end();
    });
    const result = await client.headManifest('a', tag, never);
    expect(result).toMatchObject({ kind: 'ok', value: { digest, mediaType: oci, size: 42 } });
    expect(server.journal[0]?.method).toBe('HEAD');
  });

  it('passes on what is generic or missing, but no web page', async () => {
    const { client } = await clientOf((request, response) => {
      if (request.url?.includes('/page/')) response.setHeader('content-type', 'text/html');
      response.setHeader('docker-content-digest', 'sha256:beef');
      response.end();
    });
    const result = await client.headManifest('a', tag, never);
    expect(result).toMatchObject({ kind: 'ok', value: { digest: undefined, mediaType: '' } });
    expect(await client.headManifest('page', tag, never)).toMatchObject({
      kind: 'unavailable',
      cause: { reason: 'content' },
    });
  });
});
