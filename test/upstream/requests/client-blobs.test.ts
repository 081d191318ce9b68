import type { IncomingMessage, ServerResponse } from 'node:http';
import { inspect } from 'node:util';
import { describe, expect, it } from 'vitest';
import { httpServer, rawServer } from '../loopback.ts';
import { digest, never, openClient, openTransfer } from '../open-client.ts';

const blob = 'the bytes of a blob';

/** Serves the blob with ranges. */
function serve(request: IncomingMessage, response: ServerResponse): void {
  const start = Number(/^bytes=([0-9]+)-$/.exec(request.headers.range ?? '')?.[1] ?? -1);
  if (start < 0) response.writeHead(200, { 'content-length': blob.length }).end(blob);
  else if (start >= blob.length) response.writeHead(416, { 'content-range': `bytes */${blob.length}` }).end();
  else {
    const headers = { 'content-range': `bytes ${start}-${blob.length - 1}/${blob.length}` };
    response.writeHead(206, headers).end(blob.slice(start));
  }
}

describe('getBlob', () => {
  it('transfers the whole, or from an offset on', async () => {
    const server = await httpServer(serve);
    const { client, observed } = openClient(server.origin);
    const whole = openTransfer();
    expect(await whole.get(client, 'a/b', digest, { start: 0 }, never)).toEqual({
      kind: 'ok',
      upstream: server.host,
      value: { ending: 'complete', total: blob.length, received: blob.length },
    });
    expect(whole.bytes()).toBe(blob);
    expect(whole.requests[0]).toEqual({
      url: `${server.origin}/v2/a/b/blobs/${digest}`,
      headers: { 'user-agent': 'entrepot/test', accept: '*/*' },
      egress: { upstream: server.origin, trusted: [] },
      connectTimeout: 5000,
      headersTimeout: 5000,
      stallTimeout: 5000,
    });
    const rest = openTransfer();
    await rest.get(client, 'a/b', digest, { start: 4 }, never);
    expect(rest.bytes()).toBe(blob.slice(4));
    expect(server.journal[1]?.headers.range).toBe('bytes=4-');
    expect(observed).toEqual(['get-blob ok', 'get-blob ok']);
  });

  it('continues where the upstream knows no ranges', async () => {
    const server = await httpServer((_request, response) => response.end(blob));
    const { get, bytes } = openTransfer();
    const result = await get(openClient(server.origin).client, 'a', digest, { start: 4 }, never);
    expect(result).toMatchObject({ kind: 'ok', value: { ending: 'complete', received: blob.length - 4 } });
    expect(bytes()).toBe(blob.slice(4));
  });

  it('says how far it came when it broke off', async () => {
    const { port } = await rawServer((socket) =>
      socket.end(`HTTP/1.1 200 OK\r\nContent-Length: ${blob.length}\r\n\r\nthe`),
    );
    const { get, bytes } = openTransfer();
    const result = await get(openClient(`http://127.0.0.1:${port}`).client, 'a', digest, { start: 0 }, never);
    expect(result).toMatchObject({
      kind: 'ok',
      value: { ending: 'broken', reason: 'cut', received: 3, total: blob.length },
    });
    expect(bytes()).toBe('the');
  });

  it.each([
    [404, { kind: 'missing' }],
    [403, { kind: 'denied', status: 403 }],
    [429, { kind: 'limited' }],
    [416, { kind: 'unavailable', cause: { reason: 'status' } }],
    [500, { kind: 'unavailable', cause: { reason: 'status' } }],
    [204, { kind: 'unavailable' }],
  ])('writes nothing of a %s', async (status, expected) => {
    const server = await httpServer((_request, response) =>
      response.writeHead(status).end(status === 204 ? '' : 'no'),
    );
    const { get, bytes } = openTransfer();
    expect(await get(openClient(server.origin).client, 'a', digest, { start: 4 }, never)).toMatchObject(
      expected,
    );
    expect(bytes()).toBe('');
  });

  it('is unavailable when nobody listens', async () => {
    const { port } = await rawServer(() => {});
    const { client } = openClient(`http://127.0.0.2:${port}`);
    expect(await openTransfer().get(client, 'a', digest, { start: 0 }, never)).toMatchObject({
      kind: 'unavailable',
      cause: { reason: 'unreachable', op: 'get-blob', message: 'the connection was refused' },
    });
  });

  it('hears of the rate limit as a body begins, from the registry and not from a storage host', async () => {
    const limits = (remaining: number) => ({
      'ratelimit-limit': '100',
      'ratelimit-remaining': `${remaining}`,
    });
    const storage = await httpServer((_request, response) => response.writeHead(200, limits(7)).end(blob));
    const server = await httpServer((request, response) => {
      if (request.url?.startsWith('/v2/far/'))
        response.writeHead(307, { ...limits(60), location: storage.origin }).end();
      else response.writeHead(200, limits(50)).end(blob);
    });
    const { client } = openClient(server.origin);
    const { get } = openTransfer();
    await get(client, 'near', digest, { start: 0 }, never);
    expect(client.health.rateLimit.remaining).toBe(50);
    await get(client, 'far/off', digest, { start: 0 }, never);
    expect(client.health.rateLimit.remaining).toBe(60);
  });

  it('tells what it observed once: how it came out, or that it was given up', async () => {
    const server = await httpServer(serve);
    const { client, observed } = openClient(server.origin);
    const { get } = openTransfer();
    const leaver = new AbortController();
    const blobRequest = client.getBlob('a', digest, { start: 0 });
    await blobRequest.first(never);
    blobRequest.close();
    leaver.abort(new Error('left'));
    await expect(get(client, 'a', digest, { start: 0 }, leaver.signal)).rejects.toThrow('left');
    await get(client, 'a', digest, { start: 0 }, never);
    expect(observed).toEqual(['get-blob aborted', 'get-blob aborted', 'get-blob ok']);
  });

  it('gives each request the trust roots, and the proxy for its own host', async () => {
    const server = await httpServer((_request, response) =>
      response.writeHead(302, { location: 'http://cdn.test/x' }).end(),
    );
    const { client } = openClient(server.origin, {
      ca: 'PEM',
      proxy: { http: 'http://127.0.0.1:1', noProxy: ['127.0.0.1'] },
    });
    const { get, requests } = openTransfer();
    await get(client, 'a', digest, { start: 0 }, never);
    expect(requests.map(({ ca, proxy }) => [ca, proxy])).toEqual([
      ['PEM', undefined],
      ['PEM', { url: 'http://127.0.0.1:1' }],
    ]);
  });
});

describe('a redirected blob', () => {
  const bearer = { 'www-authenticate': 'Bearer realm="/" ' };

  async function registry(location: (n: number) => string) {
    let redirects = 0;
    return httpServer((request, response) => {
      if (request.url?.startsWith('/token')) response.end('{"token":"t1"}');
      else if (request.headers.authorization !== 'Bearer t1') {
        response
          .writeHead(401, {
            ...bearer,
            'www-authenticate': `Bearer realm="http://${request.headers.host}/token"`,
          })
          .end();
      } else if (request.url?.includes('/here')) serve(request, response);
      else response.writeHead(307, { location: location(++redirects) }).end();
    });
  }

  it('keeps its range and loses its credentials when it leaves the origin', async () => {
    const cdn = await httpServer(serve);
    const server = await registry(() => `${cdn.origin}/x?signature=s3cret`);
    const { client, logged } = openClient(server.origin);
    const { get, bytes, requests } = openTransfer();
    expect(await get(client, 'a', digest, { start: 4 }, never)).toMatchObject({ kind: 'ok' });
    expect(bytes()).toBe(blob.slice(4));
    expect(cdn.journal[0]?.headers).not.toHaveProperty('authorization');
    expect(cdn.journal[0]?.headers.range).toBe('bytes=4-');
    expect(requests.map(({ headers }) => headers['authorization'])).toEqual([
      undefined,
      'Bearer t1',
      undefined,
    ]);
    expect(logged.join()).not.toContain('s3cret');
  });

  it('keeps its credentials within the origin', async () => {
    const server = await registry(() => '/here');
    const { get, bytes } = openTransfer();
    await get(openClient(server.origin).client, 'a', digest, { start: 0 }, never);
    expect(bytes()).toBe(blob);
  });

  it('does not get its credentials back by a redirect home', async () => {
    const server = await registry(() => `${cdn.origin}/x`);
    const cdn = await httpServer((_request, response) =>
      response.writeHead(302, { location: `${server.origin}/here` }).end(),
    );
    const { get, requests } = openTransfer();
    const result = await get(openClient(server.origin).client, 'a', digest, { start: 0 }, never);
    expect(result).toMatchObject({ kind: 'unavailable', cause: { reason: 'redirect-denied' } });
    expect(requests.slice(2).map(({ headers }) => headers['authorization'])).toEqual([
      undefined,
      undefined,
      'Bearer t1',
      undefined,
      undefined,
    ]);
  });

  it('starts over once when the signed URL has expired', async () => {
    const cdn = await httpServer((request, response) => {
      if (request.url === '/1') response.writeHead(403).end();
      else serve(request, response);
    });
    const server = await registry((n) => `${cdn.origin}/${n}`);
    const { get, bytes } = openTransfer();
    expect(await get(openClient(server.origin).client, 'a', digest, { start: 0 }, never)).toMatchObject({
      kind: 'ok',
    });
    expect(bytes()).toBe(blob);
    expect(cdn.journal.map(({ url }) => url)).toEqual(['/1', '/2']);
  });

  it('that stays refused elsewhere is unavailable, not denied: only the registry denies', async () => {
    const cdn = await httpServer((_request, response) => response.writeHead(403).end());
    const server = await registry((n) => `${cdn.origin}/${n}?signature=s3cret`);
    const result = await openTransfer().get(
      openClient(server.origin).client,
      'a',
      digest,
      { start: 0 },
      never,
    );
    expect(result).toMatchObject({ kind: 'unavailable', cause: { reason: 'redirect-denied' } });
    expect(result.kind === 'unavailable' && result.cause.message).toBe(
      `${cdn.host}, where it redirects to, answered 403`,
    );
    expect(cdn.journal).toHaveLength(2);
    expect(inspect(result, { depth: 9 })).not.toContain('s3cret');
  });

  it.each([['ftp://cdn.test/'], ['http://user:pass@127.0.0.1/'], ['']])(
    'is not followed to %j',
    async (location) => {
      const server = await registry(() => location);
      const { get, requests } = openTransfer();
      const result = await get(openClient(server.origin).client, 'a', digest, { start: 0 }, never);
      expect(result).toMatchObject({ kind: 'unavailable', cause: { reason: 'redirect' } });
      expect(requests).toHaveLength(2);
    },
  );
});

describe('headBlob', () => {
  it('tells the size', async () => {
    const server = await httpServer(serve);
    const { client } = openClient(server.origin);
    expect(await client.headBlob('a', digest, never)).toMatchObject({
      kind: 'ok',
      value: { size: blob.length },
    });
    expect(server.journal[0]?.method).toBe('HEAD');
  });

  it('believes the registry when the storage host refuses HEAD', async () => {
    const cdn = await httpServer((_request, response) => response.writeHead(403).end());
    const server = await httpServer((_request, response) =>
      response.writeHead(307, { location: cdn.origin }).end(),
    );
    const { client } = openClient(server.origin);
    expect(await client.headBlob('a', digest, never)).toMatchObject({
      kind: 'ok',
      value: { size: undefined },
    });
  });
});
