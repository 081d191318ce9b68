import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { SignJWT } from 'jose';
import { describe, expect, it } from 'vitest';
import { manifestPath } from '../helpers/cold-layer.ts';
import { startFakeUpstream } from '../helpers/fake-upstream.ts';
import { makeImage } from '../helpers/image.ts';
import { outcome, request } from '../helpers/request.ts';
import { startProxy } from '../helpers/start-proxy.ts';
import { raw } from './raw-request.ts';
import { basic, pulling, usersWith } from './users.ts';

const image = makeImage();

const honoRow =
  'CVE-2026-22817, CVE-2026-22818, CVE-2026-44457, CVE-2026-47674, CVE-2026-126357 (hono): helpers of the framework';

describe(honoRow, () => {
  const root = new URL('../../src/', import.meta.url).pathname;
  const sources = readdirSync(root, { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.ts'))
    .map((file) => ({ file, text: readFileSync(join(root, file), 'utf8') }));

  it('of hono only the router is used', () => {
    const imports = sources.flatMap(({ text }) => [...text.matchAll(/from '((?:@hono|hono)[^']*)'/g)]);
    const used = [...new Set(imports.map(([, from]) => from))].sort();
    expect(used).toEqual(['@hono/node-server', '@hono/node-server/utils/response', 'hono']);
    for (const { file, text } of sources) expect(text, file).not.toMatch(/\.mount\(|\bserveStatic\b/);
  });

  async function scene() {
    const upstream = await startFakeUpstream();
    upstream.add('team-a/app', image, 'v1');
    const proxy = await startProxy({
      registries: { 'ghcr.io': upstream },
      access: usersWith({
        ann: pulling('ghcr.io/team-a/**'),
        root: [{ images: ['**'], actions: ['pull', 'admin'] }],
      }),
    });
    const key = readFileSync(join(proxy.storagePath, 'token.key'));
    const ask = (token: string) => {
      const headers = { authorization: `Bearer ${token}` };
      return request(proxy.url, manifestPath('v1', 'ghcr.io/team-a/app'), { headers });
    };
    return { proxy, key, ask };
  }

  const claims = { access: [{ type: 'repository', name: 'ghcr.io/team-a/app', actions: ['pull'] }] };

  function token(alg: string, change: (jwt: SignJWT) => SignJWT = (jwt) => jwt): SignJWT {
    const jwt = new SignJWT(claims)
      .setProtectedHeader({ alg, typ: 'JWT' })
      .setIssuer('entrepot')
      .setAudience('entrepot')
      .setSubject('ann')
      .setIssuedAt()
      .setExpirationTime('5m');
    return change(jwt);
  }

  it('a token of another algorithm is none, even when its key is right (CVE-2026-22817, CVE-2026-22818)', async () => {
    const { key, ask } = await scene();
    expect((await ask(await token('HS256').sign(key))).status).toBe(200);
    for (const alg of ['HS384', 'HS512']) {
      expect(outcome(await ask(await token(alg).sign(key))), alg).toBe('401 UNAUTHORIZED');
    }
    const [, payload = ''] = (await token('HS256').sign(key)).split('.');
    for (const alg of ['none', 'None', 'NONE', '', 'HS256', 'RS256']) {
      const head = Buffer.from(JSON.stringify({ alg, typ: 'JWT' })).toString('base64url');
      for (const signature of ['', '.', 'AAAA']) {
        expect((await ask(`${head}.${payload}.${signature}`)).status, alg).toBe(401);
      }
    }
  });

  it('a token of another issuer, audience, user or time, or without one of them, is none', async () => {
    const { key, ask } = await scene();
    const wrong: ((jwt: SignJWT) => SignJWT)[] = [
      (jwt) => jwt.setIssuer('another'),
      (jwt) => jwt.setAudience('another'),
      (jwt) => jwt.setExpirationTime(1),
      (jwt) => jwt.setSubject('nobody'),
      (jwt) => jwt.setNotBefore('1h'),
    ];
    for (const change of wrong) expect((await ask(await token('HS256', change).sign(key))).status).toBe(401);
    const eternal = new SignJWT(claims).setProtectedHeader({ alg: 'HS256', typ: 'JWT' }).setSubject('ann');
    expect((await ask(await eternal.setIssuer('entrepot').setAudience('entrepot').sign(key))).status).toBe(
      401,
    );
  });

  it('what needs a login is not cached for others (CVE-2026-44457)', async () => {
    const { proxy } = await scene();
    const path = manifestPath('v1', 'ghcr.io/team-a/app');
    await request(proxy.url, path, { headers: basic('ann') });
    expect((await request(proxy.url, path)).status).toBe(401);
    const answer = await request(proxy.url, '/token?service=entrepot', { headers: basic('ann') });
    expect(answer.headers['cache-control']).toBe('no-store');
  });

  it('what a client says about its address changes nothing (CVE-2026-47674)', async () => {
    const { proxy } = await scene();
    const forged = ['x-forwarded-for', 'x-real-ip', 'forwarded', 'cf-connecting-ip', 'true-client-ip'];
    let limited = 0;
    for (let n = 0; n < 30; n += 1) {
      const address = `198.51.100.${n}`;
      const headers = Object.fromEntries(forged.map((name) => [name, address]));
      const login = basic('ann', `wrong ${n}`);
      const answer = await request(proxy.url, '/token', { headers: { ...headers, ...login } });
      if (answer.status === 429) limited += 1;
    }
    expect(limited).toBeGreaterThanOrEqual(15);
  });

  it('no way of writing a path gets round the login of the admin API (CVE-2026-126357)', async () => {
    const { proxy } = await scene();
    const paths = [
      '/api/v1/history?image=ghcr.io/team-a/app',
      '//api/v1/history?image=ghcr.io/team-a/app',
      '/api//v1/history?image=ghcr.io/team-a/app',
      '/api/v1/history/?image=ghcr.io/team-a/app',
      '/api/v1/%68istory?image=ghcr.io/team-a/app',
      '/%61pi/v1/history?image=ghcr.io/team-a/app',
      '/API/V1/history?image=ghcr.io/team-a/app',
      '/./api/v1/history?image=ghcr.io/team-a/app',
      '/x/../api/v1/history?image=ghcr.io/team-a/app',
      '/api/v1/history%2f..?image=ghcr.io/team-a/app',
      '/api/v1%2fhistory?image=ghcr.io/team-a/app',
      '/metrics/../api/v1/history?image=ghcr.io/team-a/app',
      '/api/v1/history;x?image=ghcr.io/team-a/app',
      '/api/v1/history%00?image=ghcr.io/team-a/app',
      `http://${'127.0.0.1'}/api/v1/history?image=ghcr.io/team-a/app`,
    ];
    for (const path of paths) {
      for (const method of ['GET', 'HEAD', 'POST', 'DELETE']) {
        const answer = await raw(proxy.host, `${method} ${path} HTTP/1.1`);
        expect(answer, `${method} ${path}`).toMatch(/^HTTP\/1\.1 (?:400|401|404|405) /);
        expect(answer, `${method} ${path}`).not.toContain('"history"');
      }
    }
    const headers = basic('root');
    const path = '/api/v1/history?image=ghcr.io/team-a/app';
    expect((await request(proxy.url, path, { headers })).status).toBe(200);
    expect((await request(proxy.url, path, { headers: basic('ann') })).status).toBe(403);
  });
});
