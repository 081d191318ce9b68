import { describe, expect, it } from 'vitest';
import { Wire } from '../../../src/upstream/wire/wire.ts';
import { httpServer, keepingSink, proxyServer, wireRequest } from '../loopback.ts';
import { namesOf } from '../names.ts';
import { digest, never, openClient, openTransfer, tag } from '../open-client.ts';

const manifest = 'application/vnd.oci.image.manifest.v1+json';
const elsewhere = '203.0.114.7';

/** What a host inside the network would give away. */
async function inside() {
  return httpServer((_request, response) => response.writeHead(200, { 'content-type': manifest }).end('{}'));
}

/**
 * A registry that redirects to `target`. To its own client its name leads here, and to the guard, which asks
 * afterwards, to `own`.
 */
async function redirecting(target: (port: number) => string, own: string) {
  const secret = await inside();
  const registry = await httpServer((_request, response) => {
    response.writeHead(307, { location: target(secret.port) }).end();
  });
  const names = namesOf({ 'registry.test': [['127.0.0.1'], [own]], 'files.test': [['127.0.0.1']] });
  return { secret, registry, names, url: `http://registry.test:${registry.port}` };
}

const byName = (port: number) => `http://files.test:${port}/secret`;

describe('a redirect to a name that leads to this machine', () => {
  it('is not followed for something small', async () => {
    const { secret, registry, names, url } = await redirecting(byName, elsewhere);
    const { client } = openClient(url, {}, names.lookup);
    const result = await client.headManifest('a', tag, never);
    expect(result).toMatchObject({
      kind: 'unavailable',
      cause: {
        reason: 'egress',
        message: expect.stringContaining('files.test is at the loopback address 127.0.0.1'),
      },
    });
    expect(registry.journal).toHaveLength(1);
    expect(secret.journal).toHaveLength(0);
  });

  it('is not followed for a blob', async () => {
    const { secret, registry, names, url } = await redirecting(byName, elsewhere);
    const { client } = openClient(url);
    const { get, bytes } = openTransfer(names.lookup);
    const result = await get(client, 'a', digest, { start: 0 }, never);
    expect(result).toMatchObject({
      kind: 'unavailable',
      cause: { reason: 'egress', message: expect.stringContaining('files.test') },
    });
    expect(registry.journal).toHaveLength(1);
    expect(secret.journal).toHaveLength(0);
    expect(bytes()).toBe('');
  });

  it('is followed when the upstream is here too, to the address that was judged', async () => {
    const { secret, names, url } = await redirecting(byName, '127.0.0.1');
    const { client } = openClient(url, {}, names.lookup);
    expect(await client.headManifest('a', tag, never)).toMatchObject({ kind: 'ok' });
    const { get, bytes } = openTransfer(names.lookup);
    expect(await get(client, 'a', digest, { start: 0 }, never)).toMatchObject({ kind: 'ok' });
    expect(bytes()).toBe('{}');
    expect(secret.journal).toHaveLength(2);
    // Small requests and bodies have connections of their own: one lookup for each of them.
    expect(names.asked.filter((name) => name === 'files.test')).toHaveLength(2);
  });
});

it.each([
  ['http://10.0.0.5:9/secret', '10.0.0.5'],
  ['http://[fd00::5]:9/secret', 'fd00::5'],
  ['http://[::ffff:10.0.0.5]:9/secret', '::ffff:a00:5'],
  ['http://0xa.5:9/secret', '10.0.0.5'],
])('a redirect to %s is not followed, for which no name is looked up', async (target, shown) => {
  const { names, url } = await redirecting(() => target, elsewhere);
  const { client } = openClient(url, {}, names.lookup);
  const small = await client.headManifest('a', tag, never);
  const { get } = openTransfer(namesOf({ 'registry.test': [['127.0.0.1'], [elsewhere]] }).lookup);
  const blob = await get(client, 'a', digest, { start: 0 }, never);
  for (const result of [small, blob]) {
    expect(result).toMatchObject({
      kind: 'unavailable',
      cause: { reason: 'egress', message: expect.stringContaining(`to the private address ${shown}`) },
    });
  }
});

it('a token realm at an address inside is not asked, and gets no credentials', async () => {
  const secret = await inside();
  const registry = await httpServer((_request, response) => {
    const realm = `https://auth.registry.test:${secret.port}/token`;
    response.writeHead(401, { 'www-authenticate': `Bearer realm="${realm}"` }).end();
  });
  const names = namesOf({
    'registry.test': [['127.0.0.1'], [elsewhere]],
    'auth.registry.test': [['127.0.0.1']],
  });
  const login = { username: 'me', password: 's3cret' };
  const { client } = openClient(`http://registry.test:${registry.port}`, login, names.lookup);
  expect(await client.headManifest('a', tag, never)).toMatchObject({
    kind: 'unavailable',
    cause: { reason: 'egress', op: 'token', message: expect.stringContaining('auth.registry.test') },
  });
  expect(secret.journal).toHaveLength(0);
});

it("a cloud's metadata service is not reached by a name for it, and the upstream stays well", async () => {
  const registry = await httpServer((_request, response) => {
    response.writeHead(307, { location: 'http://metadata.test/latest' }).end();
  });
  const { lookup } = namesOf({ 'metadata.test': [['169.254.169.254']] });
  const { client } = openClient(registry.origin, {}, lookup);
  for (let n = 0; n < 5; n++) {
    expect(await client.headManifest('a', tag, never)).toMatchObject({ cause: { reason: 'egress' } });
  }
  expect(client.health.state).toBe('closed');
});

describe('the wire', () => {
  const outside = { upstream: `http://${elsewhere}`, trusted: [] };

  it('opens no connection that the rule forbids', async () => {
    const { origin, journal } = await inside();
    const wire = new Wire();
    const { sink } = keepingSink();
    expect(await wire.get(wireRequest(origin, { egress: outside }), sink, never)).toMatchObject({
      kind: 'failed',
      phase: 'connect',
      reason: 'forbidden',
      message: expect.stringContaining('loopback'),
    });
    const https = { upstream: 'https://127.0.0.1', trusted: [] };
    expect(await wire.get(wireRequest(origin, { egress: https }), sink, never)).toMatchObject({
      reason: 'forbidden',
      message: expect.stringContaining('not https'),
    });
    expect(journal).toHaveLength(0);
  });

  it('shares no connection between rules', async () => {
    const { origin, journal } = await inside();
    const wire = new Wire();
    const { sink } = keepingSink();
    expect(await wire.get(wireRequest(origin), sink, never)).toMatchObject({ kind: 'complete' });
    const other = await wire.get(wireRequest(origin, { egress: outside }), sink, never);
    expect(other).toMatchObject({ reason: 'forbidden' });
    expect(journal).toHaveLength(1);
    wire.close();
  });
});

describe('an outbound proxy', () => {
  const refused = 'HTTP/1.1 502 Bad\r\nContent-Length: 0\r\n\r\n';

  it('may be here whatever the upstream is, and resolves names itself', async () => {
    const proxy = await proxyServer(refused);
    const { lookup, asked } = namesOf({});
    const url = `http://127.0.0.1:${proxy.port}`;
    const { client } = openClient('https://registry.test', { proxy: { https: url, noProxy: [] } }, lookup);
    await client.headManifest('a', tag, never);
    await openTransfer(lookup).get(client, 'a', digest, { start: 0 }, never);
    expect(proxy.heads.map((head) => head.split('\r\n')[0])).toEqual([
      'CONNECT registry.test:443 HTTP/1.1',
      'CONNECT registry.test:443 HTTP/1.1',
    ]);
    expect(asked).toEqual([]);
  });

  it('is not asked for an address inside', async () => {
    const proxy = await proxyServer(refused);
    const { lookup } = namesOf({ 'registry.test': [[elsewhere]] });
    const wire = new Wire({ lookup });
    const egress = { upstream: 'https://registry.test', trusted: [] };
    for (const host of ['10.0.0.5', 'localhost', '[::1]']) {
      const request = wireRequest(`https://${host}/`, {
        egress,
        proxy: { url: `http://127.0.0.1:${proxy.port}` },
      });
      expect(await wire.get(request, keepingSink().sink, never)).toMatchObject({ reason: 'forbidden' });
    }
    expect(proxy.heads).toEqual([]);
  });
});
