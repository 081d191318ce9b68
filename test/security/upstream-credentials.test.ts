import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { readDockerConfig } from '../../src/upstream/auth/docker-config.ts';
import { judgeRealm } from '../../src/upstream/auth/realm.ts';
import { manifestPath, mustGet, repository } from '../helpers/cold-layer.ts';
import { errorAnswer, jsonAnswer } from '../helpers/fake-answer.ts';
import { FakeServer } from '../helpers/fake-server.ts';
import { startFakeUpstream } from '../helpers/fake-upstream.ts';
import { makeImage } from '../helpers/image.ts';
import { ociError, outcome, request } from '../helpers/request.ts';
import { startProxy, temporaryDirectory } from '../helpers/start-proxy.ts';
import { programFolder } from '../upstream/auth/helper-programs.ts';
import { httpServer } from '../upstream/loopback.ts';
import { namesOf } from '../upstream/names.ts';
import { never, openClient, tag } from '../upstream/open-client.ts';
import { localhostTls, otherTls } from '../upstream/tls-fixture.ts';

const username = 'robot-account';
const password = 'p4ssw0rd-of-upstream';
const _basic = `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`;

/** A token endpoint that would take whatever it gets, and keeps it. */
function thief(options: { tls?: { key: string; cert: string } } = {}) {
  return httpServer((_request, response) => {
    response.writeHead(200, { 'content-type': 'application/json' }).end('{"token":"from-the-thief"}');
  }, options);
}

/** A registry that challenges every request with a realm. */
function challenging(realm: string, options: { tls?: { key: string; cert: string } } = {}) {
  return httpServer((_request, response) => {
    response.writeHead(401, { 'www-authenticate': `Bearer realm="${realm}",service="registry"` }).end();
  }, options);
}

describe('CVE-2026-33540: a challenge names the place that the configured password is sent to', () => {
  it.each([
    'auth.evil.test',
    'registry.test.evil.test',
    'evil-registry.test',
    'registry.test@auth.evil.test',
  ])('a realm at %s is not asked', async (host) => {
    const place = await thief();
    const registry = await challenging(`http://${host}:${place.port}/token`);
    const here = [['127.0.0.1']];
    const { lookup } = namesOf({
      'registry.test': here,
      'auth.evil.test': here,
      'registry.test.evil.test': here,
      'evil-registry.test': here,
    });
    const url = `http://registry.test:${registry.port}`;
    const { client } = openClient(url, { username, password }, lookup);
    expect(await client.headManifest('a', tag, never)).toMatchObject({
      kind: 'unavailable',
      cause: { reason: 'auth' },
    });
    expect(place.journal).toHaveLength(0);
  });

  it('an https realm on this machine is not asked for an upstream that is elsewhere', async () => {
    const place = await thief({ tls: localhostTls });
    const registry = await challenging(`https://localhost:${place.port}/token`, { tls: otherTls });
    const { lookup } = namesOf({ 'other.test': [['127.0.0.1']], localhost: [['127.0.0.1']] });
    const url = `https://other.test:${registry.port}`;
    const ca = `${otherTls.cert}\n${localhostTls.cert}`;
    const { client } = openClient(url, { username, password, ca }, lookup);
    expect(await client.headManifest('a', tag, never)).toMatchObject({ kind: 'unavailable' });
    expect(place.journal).toHaveLength(0);
  });

  it('a realm at a private address is not dialled, and the client is told why', async () => {
    const registry = await startFakeUpstream({
      auth: { kind: 'bearer', username, password, realm: 'https://10.0.0.5/token' },
    });
    registry.add(repository, makeImage(), 'v1');
    const proxy = await startProxy({ registries: { 'ghcr.io': { url: registry.url, username, password } } });
    const answer = await request(proxy.url, manifestPath('v1'));
    expect(outcome(answer)).toBe('503 UNAVAILABLE');
    expect(ociError(answer).message).toContain('https://10.0.0.5');
    expect(answer.text).not.toContain(password);
  });

  it.each([
    ['https://registry-1.docker.io', 'https://auth.docker.io/token'],
    ['https://registry.cn-hangzhou.aliyuncs.com', 'https://dockerauth.cn-hangzhou.aliyuncs.com/auth'],
  ])('%s may name the realm %s', (upstream, realm) => {
    expect(judgeRealm(realm, new URL(upstream), [])).toMatchObject({ kind: 'allowed' });
  });

  it.each([
    ['https://registry-1.docker.io', 'https://auth.docker.io.evil.com/token'],
    ['https://registry-1.docker.io', 'https://evildocker.io/token'],
    ['https://registry-1.docker.io', 'https://auth.docker.io@evil.com/token'],
    ['https://registry-1.docker.io', 'http://auth.docker.io/token'],
    ['https://ghcr.io', 'https://169.254.169.254/token'],
    ['https://mine.azurecr.io', 'https://theirs.azurecr.io/oauth2/token'],
    ['https://registry.cn-hangzhou.aliyuncs.com', 'https://dockerauth.cn-hangzhou.aliyuncs.com.evil.cn/'],
  ])('%s may not name the realm %s', (upstream, realm) => {
    expect(judgeRealm(realm, new URL(upstream), [])).toMatchObject({ kind: 'refused' });
  });
});

const clients =
  'CVE-2026-48978 (oras-go), go-containerregistry#2193, jib#4523, devcontainers/cli PR#1276: the same in clients';

describe(clients, () => {
  it('no credential helper is run for a realm that is refused', async () => {
    const programs = programFolder();
    programs.helper('probe', `echo '{"Username":"me","Secret":"s3cret"}'`);
    const place = await thief();
    const registry = await challenging(`http://auth.evil.test:${place.port}/token`);
    const { lookup } = namesOf({ 'registry.test': [['127.0.0.1']], 'auth.evil.test': [['127.0.0.1']] });
    const { client } = openClient(
      `http://registry.test:${registry.port}`,
      { credentialHelper: 'probe' },
      lookup,
    );
    await client.headManifest('a', tag, never);
    expect(programs.asked()).toEqual([]);
    expect(place.journal).toHaveLength(0);
  });

  it.each([301, 302, 303, 307, 308])('a token endpoint that answers %i is not followed', async (status) => {
    const place = await thief();
    const registry = await startFakeUpstream({ auth: { kind: 'bearer', username, password } });
    registry.add(repository, makeImage(), 'v1');
    registry.script({ match: { kind: 'token' }, status, headers: { location: `${place.origin}/token` } });
    const proxy = await startProxy({ registries: { 'ghcr.io': { url: registry.url, username, password } } });
    expect(outcome(await request(proxy.url, manifestPath('v1')))).toBe('503 UNAVAILABLE');
    expect(registry.journal.count({ kind: 'token' })).toBeGreaterThan(0);
    expect(place.journal).toHaveLength(0);
  });

  it('a service name cannot widen the scope that is asked for', async () => {
    const server: FakeServer = await FakeServer.open((entry) => {
      if (entry.kind === 'token') return jsonAnswer(200, { token: 'a-token' });
      const service = 'x&scope=repository:team/secret:pull,push#';
      const challenge = `Bearer realm="${server.url}/token",service="${service}"`;
      return errorAnswer(401, 'UNAUTHORIZED', { 'www-authenticate': challenge });
    });
    onTestFinished(() => server.close());
    const proxy = await startProxy({ registries: { 'ghcr.io': { url: server.url, username, password } } });
    await request(proxy.url, manifestPath('v1'));
    const [asked] = server.journal.filter({ kind: 'token' });
    expect(asked?.query).toEqual({
      service: 'x&scope=repository:team/secret:pull,push#',
      scope: `repository:${repository}:pull`,
    });
  });
});

const looseMatches =
  'CVE-2026-59891 (@sigstore/oci), GO-2026-6225 (acr-env), connaisseur PR#2166: credentials by a loose host match';

describe(looseMatches, () => {
  const auth = Buffer.from(`${username}:${password}`).toString('base64');

  async function configWith(keys: readonly string[]): Promise<string> {
    const path = join(await temporaryDirectory(), 'config.json');
    await writeFile(path, JSON.stringify({ auths: Object.fromEntries(keys.map((key) => [key, { auth }])) }));
    return path;
  }

  it('an upstream gets nothing that is kept for hosts that look like it', async () => {
    const registry = await startFakeUpstream({ auth: { kind: 'basic', username, password } });
    registry.add(repository, makeImage(), 'v1');
    const { host } = registry;
    const alike = [
      '127.0.0.1',
      '127.0.0.1:1',
      `${host}.evil.test`,
      `evil-${host}`,
      `${host}/team`,
      `${host}0`,
    ];
    const dockerConfig = await configWith([...alike, `https://me@${host}`, `ghcr.io`, '']);
    const proxy = await startProxy({ registries: { 'ghcr.io': { url: registry.url, dockerConfig } } });
    expect(outcome(await request(proxy.url, manifestPath('v1')))).toBe('403 DENIED');
    expect(registry.journal.count()).toBeGreaterThan(0);
    for (const entry of registry.journal.entries) expect(entry.headers.authorization).toBeUndefined();
  });

  it('an upstream gets what is kept for exactly its host and port', async () => {
    const registry = await startFakeUpstream({ auth: { kind: 'basic', username, password } });
    registry.add(repository, makeImage(), 'v1');
    const dockerConfig = await configWith([registry.host]);
    const proxy = await startProxy({ registries: { 'ghcr.io': { url: registry.url, dockerConfig } } });
    await mustGet(proxy.url, manifestPath('v1'));
  });

  it.each([
    'https://mine.azurecr.io.evil.com',
    'https://evilmine.azurecr.io',
    'https://azurecr.io.evil.com',
    'https://mine.azurecr.io:8443',
    'https://mine.azurecr.io.',
    'https://mine-azurecr.io',
    'https://evil.com/mine.azurecr.io',
  ])('%s gets nothing of mine.azurecr.io, nor of its domain', async (upstream) => {
    const path = await configWith(['mine.azurecr.io', 'azurecr.io', '.azurecr.io', '*.azurecr.io']);
    expect(await readDockerConfig(path, new URL('https://mine.azurecr.io'), never)).toBeDefined();
    expect(await readDockerConfig(path, new URL(upstream), never)).toBeUndefined();
  });

  it('the password of one upstream is not sent to another port of its host', async () => {
    const own = await startFakeUpstream();
    const other = await startFakeUpstream({ auth: { kind: 'basic', username, password } });
    other.add(repository, makeImage(), 'v1');
    const mine = { url: own.url, username, password };
    const proxy = await startProxy({ registries: { 'ghcr.io': [mine, other] } });
    await request(proxy.url, manifestPath('v1'));
    await request(proxy.url, manifestPath(makeImage().manifest.digest));
    expect(other.journal.count()).toBeGreaterThan(0);
    for (const entry of other.journal.entries) expect(entry.headers.authorization).toBeUndefined();
  });
});
