import { inspect } from 'node:util';
import { describe, expect, it } from 'vitest';
import { httpServer, rawServer } from '../loopback.ts';
import { digest, never, openClient, tag } from '../open-client.ts';
import { registry, type TokenReply } from './token-registry.ts';

const get = (
  client: ReturnType<typeof openClient>['client'],
  repository = 'library/nginx',
  signal = never,
) => {
  return client.getManifest(repository, tag, 1000, signal);
};

describe('a bearer challenge', () => {
  it('is answered once, and later requests go out with the token', async () => {
    const upstream = await registry({});
    const { client, observed } = openClient(upstream.origin);
    expect((await get(client)).kind).toBe('ok');
    expect((await client.headBlob('library/nginx', digest, never)).kind).toBe('ok');
    expect(upstream.seen()).toEqual([
      'GET /v2/library/nginx/manifests/v1 -',
      'GET /token?a=b&service=the+service&scope=repository%3Alibrary%2Fnginx%3Apull -',
      'GET /v2/library/nginx/manifests/v1 Bearer t1',
      `HEAD /v2/library/nginx/blobs/${digest} Bearer t1`,
    ]);
    expect(observed).toEqual(['token ok', 'get-manifest ok', 'head-blob ok']);
  });

  it('takes a token per repository, proactively', async () => {
    const upstream = await registry({});
    const { client } = openClient(upstream.origin);
    await get(client, 'a');
    await get(client, 'b');
    expect(upstream.seen().slice(3)).toEqual([
      'GET /token?a=b&service=the+service&scope=repository%3Ab%3Apull -',
      'GET /v2/b/manifests/v1 Bearer t2',
    ]);
  });

  it('sends the configured credentials to the realm and nowhere else', async () => {
    const upstream = await registry({});
    const { client, logged } = openClient(upstream.origin, { username: 'me', password: 's3cret' });
    await get(client);
    const basic = `Basic ${Buffer.from('me:s3cret').toString('base64')}`;
    expect(upstream.journal.map(({ headers }) => headers.authorization)).toEqual([
      undefined,
      basic,
      'Bearer t1',
    ]);
    expect(logged.join()).not.toContain('s3cret');
  });

  it('encodes what the challenge and the configuration name', async () => {
    const upstream = await registry({
      challenge: (origin) => `Bearer realm="${origin}/token",service="x&scope=y#z"`,
    });
    const { client } = openClient(`${upstream.origin}/base/path/`);
    await get(client, 'a');
    expect(upstream.journal[0]?.url).toBe('/v2/base/path/a/manifests/v1');
    expect(upstream.journal[1]?.url).toBe(
      '/token?service=x%26scope%3Dy%23z&scope=repository%3Abase%2Fpath%2Fa%3Apull',
    );
  });

  it('asks for one token however many callers wait, and outlives the one that asked', async () => {
    const opened = Promise.withResolvers<void>();
    const asked = Promise.withResolvers<void>();
    const upstream = await registry({
      token: async (n) => {
        asked.resolve();
        await opened.promise;
        return { body: { token: `t${n}` } };
      },
    });
    const { client } = openClient(upstream.origin);
    const leaving = new AbortController();
    const first = get(client, 'a', leaving.signal);
    await asked.promise;
    const others = Array.from({ length: 20 }, () => get(client, 'a'));
    leaving.abort(new Error('left'));
    await expect(first).rejects.toThrow('left');
    opened.resolve();
    for (const result of await Promise.all(others)) expect(result.kind).toBe('ok');
    expect(upstream.seen().filter((line) => line.includes('/token'))).toHaveLength(1);
  });

  it.each([
    [{ token: 't', expires_in: 100 }, 79, 81],
    [{ token: 't' }, 47, 49],
    [{ token: 't', expires_in: -1 }, 47, 49],
    [{ token: 't', expires_in: '500' }, 47, 49],
    [{ access_token: 't', expires_in: 1000 }, 799, 801],
  ])('keeps %j for 80%% of its time', async (body, fresh, stale) => {
    const upstream = await registry({ token: () => ({ body }) });
    const { client, clock } = openClient(upstream.origin);
    const tokens = () => upstream.seen().filter((line) => line.includes('/token')).length;
    const start = clock.time;
    await get(client);
    clock.time = start + fresh * 1000;
    await get(client);
    expect(tokens()).toBe(1);
    clock.time = start + stale * 1000;
    expect((await get(client)).kind).toBe('ok');
    expect(tokens()).toBe(2);
  });

  it('replaces a cached token that is refused, once', async () => {
    let good = 'Bearer t1';
    const upstream = await registry({ valid: (text) => text === good });
    const { client } = openClient(upstream.origin);
    await get(client);
    good = 'Bearer t2';
    expect((await get(client)).kind).toBe('ok');
    good = 'Bearer none';
    expect(await get(client)).toMatchObject({ kind: 'denied', status: 401 });
    expect(upstream.seen().filter((line) => line.includes('/token'))).toHaveLength(3);
  });

  it.each([
    [{ status: 401 }, { kind: 'denied', status: 401 }],
    [{ status: 403 }, { kind: 'denied', status: 403 }],
    [
      { status: 429, headers: { 'retry-after': '7' } },
      { kind: 'limited', retryAfter: 7 },
    ],
    [{ status: 429 }, { kind: 'limited', retryAfter: undefined }],
    [{ status: 500 }, { kind: 'unavailable', cause: { reason: 'status', op: 'token' } }],
    [{ status: 302, headers: { location: '/token?again' } }, { kind: 'unavailable' }],
    [{ body: 'not json' }, { kind: 'unavailable', cause: { reason: 'content' } }],
    [{ body: 'null' }, { kind: 'unavailable' }],
    [{ body: {} }, { kind: 'unavailable' }],
    [{ body: { token: 7 } }, { kind: 'unavailable' }],
    [{ body: { token: 't\r\nx: y' } }, { kind: 'unavailable' }],
    [{ body: 'x'.repeat(300_000) }, { kind: 'unavailable', cause: { reason: 'content' } }],
  ])('whose token endpoint answers %j ends as %j', async (reply, expected) => {
    const upstream = await registry({ token: () => reply });
    const { client } = openClient(upstream.origin);
    const result = await get(client);
    expect(result).toMatchObject({ upstream: upstream.host, ...expected });
    expect(upstream.journal).toHaveLength(2);
  });

  it('is not followed to a realm elsewhere, and nothing is sent there', async () => {
    const elsewhere = await httpServer((_request, response) => response.end('{"token":"t"}'), {
      host: '127.0.0.1',
    });
    const challenge = () => `Bearer realm="http://sso.evil.test:${elsewhere.port}/token"`;
    const upstream = await registry({ challenge });
    const { client, logged } = openClient(upstream.origin, { username: 'me', password: 's3cret' });
    const result = await get(client);
    expect(result).toMatchObject({ kind: 'unavailable', cause: { code: 'UPSTREAM', reason: 'auth' } });
    expect(upstream.journal).toHaveLength(1);
    expect(elsewhere.journal).toHaveLength(0);
    expect(logged).toHaveLength(1);
  });
});

describe('a basic challenge', () => {
  const basic = `Basic ${Buffer.from('me:pä:ss').toString('base64')}`;
  const challenge = () => 'Basic realm="registry"';

  it('is answered with the credentials, proactively from then on', async () => {
    const upstream = await registry({ challenge, valid: (text) => text === basic });
    const { client } = openClient(upstream.origin, { username: 'me', password: 'pä:ss' });
    await get(client);
    expect((await get(client)).kind).toBe('ok');
    expect(upstream.journal.map(({ headers }) => headers.authorization)).toEqual([undefined, basic, basic]);
  });

  it('is a denial without credentials, and with wrong ones after one try', async () => {
    const upstream = await registry({ challenge, valid: () => false });
    expect(await get(openClient(upstream.origin).client)).toMatchObject({ kind: 'denied', status: 401 });
    expect(upstream.journal).toHaveLength(1);
    const { client } = openClient(upstream.origin, { username: 'me', password: 'wrong' });
    expect(await get(client)).toMatchObject({ kind: 'denied' });
    expect(await get(client)).toMatchObject({ kind: 'denied' });
    expect(upstream.journal).toHaveLength(4);
  });
});

it('a 401 that names no way in is a denial', async () => {
  const upstream = await registry({ challenge: () => 'Negotiate', valid: () => false });
  expect(await get(openClient(upstream.origin).client)).toMatchObject({ kind: 'denied', status: 401 });
});

it('a failure holds no secret, however deep one looks', async () => {
  const replies: TokenReply[] = [
    { status: 500 },
    { body: 'SECRET' },
    { body: { token: 'SECRET\n' } },
    { status: 401 },
  ];
  for (const reply of replies) {
    const upstream = await registry({
      token: () => reply,
      challenge: (origin) => `Bearer realm="${origin}/token?k=SECRET"`,
    });
    const { client, logged } = openClient(upstream.origin, { username: 'me', password: 'SECRET' });
    const shown = inspect([await get(client), logged], { depth: 12, showHidden: true });
    expect(shown).not.toContain('SECRET');
    expect(shown).not.toContain(Buffer.from('me:SECRET').toString('base64'));
  }
  const { port } = await rawServer((socket, head) => {
    if (head.includes('/token')) socket.end('SECRET is not HTTP\r\n\r\n');
    else
      socket.end(
        `HTTP/1.1 401 No\r\nWWW-Authenticate: Bearer realm="http://127.0.0.1:${port}/token"\r\n\r\n`,
      );
  });
  const { client } = openClient(`http://127.0.0.1:${port}`, { username: 'me', password: 'SECRET' });
  const result = await get(client);
  expect(result).toMatchObject({ kind: 'unavailable', cause: { reason: 'protocol' } });
  expect(inspect(result, { depth: 12 })).not.toContain('SECRET');
});
