import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { manifestPath, mustGet, repository } from '../helpers/cold-layer.ts';
import { startFakeUpstream } from '../helpers/fake-upstream.ts';
import { makeImage } from '../helpers/image.ts';
import { request } from '../helpers/request.ts';
import { startProxy, temporaryDirectory } from '../helpers/start-proxy.ts';
import { httpServer, proxyServer } from '../upstream/loopback.ts';
import { digest, never, openClient, openTransfer, tag } from '../upstream/open-client.ts';
import { localhostTls } from '../upstream/tls-fixture.ts';

const username = 'robot-account';
const password = 'p4ssw0rd-of-upstream';
const basic = `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`;

const redirects =
  'CVE-2024-24758, CVE-2024-30260, CVE-2023-45143, CVE-2022-31151 (undici): secrets that follow a redirect';

describe(redirects, () => {
  const secretHeaders = ['authorization', 'proxy-authorization', 'cookie'] as const;

  it('neither a manifest nor a blob that is elsewhere is fetched with anything secret', async () => {
    const elsewhere = await startFakeUpstream();
    const registry = await startFakeUpstream({ auth: { kind: 'basic', username, password } });
    const image = makeImage();
    for (const upstream of [elsewhere, registry]) upstream.add(repository, image, 'v1');
    const blob = image.layers[0]?.digest ?? '';
    for (const path of [manifestPath('v1'), `/v2/${repository}/blobs/${blob}`]) {
      registry.script({
        match: { path },
        redirectTo: `${elsewhere.url}${path}`,
        headers: { 'set-cookie': 'session=secret; Path=/' },
      });
    }
    const proxy = await startProxy({ registries: { 'ghcr.io': { url: registry.url, username, password } } });
    await mustGet(proxy.url, manifestPath('v1'));
    await mustGet(proxy.url, `/v2/${repository}/blobs/${blob}`);
    expect(registry.journal.filter().at(-1)?.headers.authorization).toBe(basic);
    expect(elsewhere.journal.count({ kind: 'manifest' })).toBeGreaterThan(0);
    expect(elsewhere.journal.count({ kind: 'blob' })).toBeGreaterThan(0);
    for (const { headers } of [...elsewhere.journal.entries, ...registry.journal.filter({ kind: 'blob' })]) {
      expect(headers.cookie).toBeUndefined();
      expect(headers['proxy-authorization']).toBeUndefined();
    }
    for (const { headers } of elsewhere.journal.entries) expect(headers.authorization).toBeUndefined();
  });

  it('credentials stay off once a redirect has left the upstream, even where it leads back', async () => {
    const detour = await httpServer((_request, response) => {
      response.writeHead(307, { location: `${registry.origin}/collect` }).end();
    });
    const registry = await httpServer((incoming, response) => {
      if (incoming.url === '/collect') response.writeHead(404).end();
      else if (incoming.headers.authorization !== basic) {
        response.writeHead(401, { 'www-authenticate': 'Basic realm="registry"' }).end();
      } else response.writeHead(307, { location: `${detour.origin}/away` }).end();
    });
    const { client } = openClient(registry.origin, { username, password });
    await client.headManifest('a', tag, never);
    await openTransfer().get(client, 'a', digest, { start: 0 }, never);
    const collected = registry.journal.filter(({ url }) => url === '/collect');
    expect(collected).toHaveLength(2);
    for (const { headers } of [...collected, ...detour.journal]) {
      for (const name of secretHeaders) expect(headers[name]).toBeUndefined();
    }
  });

  it('the password of an outbound proxy reaches the proxy, and no upstream behind it', async () => {
    const answer = httpServer((_request, response) => response.writeHead(404).end(), { tls: localhostTls });
    const [registry, proxy] = [await answer, await proxyServer()];
    const https = `http://someone:proxy-secret@127.0.0.1:${proxy.port}`;
    const options = { proxy: { https, noProxy: [] }, ca: localhostTls.cert };
    const { client } = openClient(registry.origin, options);
    await client.headManifest('a', tag, never);
    await openTransfer().get(client, 'a', digest, { start: 0 }, never);
    const sent = Buffer.from('someone:proxy-secret').toString('base64');
    expect(proxy.heads).toHaveLength(2);
    for (const head of proxy.heads) expect(head).toContain(sent);
    expect(registry.journal).toHaveLength(2);
    for (const { headers } of registry.journal) {
      for (const name of secretHeaders) expect(headers[name]).toBeUndefined();
    }
  });
});

describe('GitLab #458484: a changed upstream URL takes the stored secret to a new host', () => {
  it('an upstream that takes another’s place gets nothing of what was known before', async () => {
    const [before, after] = [
      await startFakeUpstream({ auth: { kind: 'bearer', username, password } }),
      await startFakeUpstream({ auth: { kind: 'bearer', username, password } }),
    ];
    for (const upstream of [before, after]) upstream.add(repository, makeImage(), 'v1');
    const dockerConfig = join(await temporaryDirectory(), 'config.json');
    const auth = Buffer.from(`${username}:${password}`).toString('base64');
    await writeFile(dockerConfig, JSON.stringify({ auths: { [before.host]: { auth } } }));
    const registries = { 'ghcr.io': { url: before.url, dockerConfig } };
    const proxy = await startProxy({ registries });
    await mustGet(proxy.url, manifestPath('v1'));
    registries['ghcr.io'] = { url: after.url, dockerConfig };
    await proxy.restart();
    await request(proxy.url, manifestPath('v2'));
    await request(proxy.url, manifestPath(makeImage({ seed: 'other' }).manifest.digest));
    expect(after.journal.count({ kind: 'token' })).toBeGreaterThan(0);
    for (const { headers, kind } of after.journal.entries) {
      if (kind === 'token') expect(headers.authorization).toBeUndefined();
      else expect(headers.authorization ?? '').not.toContain(auth);
    }
  });
});
