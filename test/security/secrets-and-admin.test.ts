import { readdirSync, readFileSync, statSync } from 'node:fs';
import { createConnection } from 'node:net';
import { join } from 'node:path';
import { SignJWT } from 'jose';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { loadConfig } from '../../src/config/load.ts';
import { adminRoutes } from '../../src/http/admin/admin.ts';
import { BcryptThread } from '../../src/policy/bcrypt-thread.ts';
import { captureLog } from '../helpers/capture-log.ts';
import { manifestPath, mustGet, repository } from '../helpers/cold-layer.ts';
import { startFakeUpstream } from '../helpers/fake-upstream.ts';
import { makeImage } from '../helpers/image.ts';
import { ociError, outcome, request } from '../helpers/request.ts';
import { startProxy } from '../helpers/start-proxy.ts';
import { scriptedOperations } from '../http/admin/admin-scene.ts';
import { basic, pulling, usersWith } from './users.ts';

const image = makeImage();
const admin = [{ images: ['**'], actions: ['pull', 'admin'] as const }];

async function scene() {
  const upstream = await startFakeUpstream();
  upstream.add(repository, image, 'v1');
  const access = usersWith({ ann: pulling('**'), root: admin });
  const proxy = await startProxy({ registries: { 'ghcr.io': upstream }, access });
  return { upstream, proxy };
}

describe('CVE-2026-4404 (Harbor): a default password; CVE-2023-27584 (Dragonfly): a key that everybody knows', () => {
  it('without configured users there is nobody to log in as', async () => {
    const upstream = await startFakeUpstream();
    const proxy = await startProxy({ registries: { 'ghcr.io': upstream } });
    const defaults = [
      ['admin', 'admin'],
      ['admin', 'Harbor12345'],
      ['admin', 'admin123'],
      ['root', 'dragonfly'],
      ['entrepot', 'entrepot'],
      ['', ''],
    ] as const;
    for (const [name, password] of defaults) {
      const headers = basic(name, password);
      const answer = await request(proxy.url, '/api/v1/history?image=ghcr.io/a/b', { headers });
      expect([401, 403], name).toContain(answer.status);
    }
  });

  it('each storage has a key of its own, of 32 random bytes, that only its owner can read', async () => {
    const keys = [await scene(), await scene()].map(({ proxy }) => {
      const path = join(proxy.storagePath, 'token.key');
      expect(statSync(path).mode & 0o777).toBe(0o600);
      return readFileSync(path);
    });
    expect(keys.map((key) => key.length)).toEqual([32, 32]);
    expect(keys[0]).not.toEqual(keys[1]);
    for (const key of keys) expect(new Set(key).size).toBeGreaterThan(8);
  });

  it('a token that is signed with a well-known key is none', async () => {
    const { proxy } = await scene();
    const name = `ghcr.io/private/app`;
    for (const key of ['Secret Key', 'secret', 'dragonfly', 'entrepot', '']) {
      const jwt = new SignJWT({ access: [{ type: 'repository', name, actions: ['pull'] }] })
        .setProtectedHeader({ alg: 'HS256', typ: 'JWT' })
        .setIssuer('entrepot')
        .setAudience('entrepot')
        .setSubject('root')
        .setIssuedAt()
        .setExpirationTime('5m');
      const text = await jwt.sign(Buffer.concat([Buffer.from(key), Buffer.alloc(32)]).subarray(0, 32));
      const headers = { authorization: `Bearer ${text}` };
      const answer = await request(proxy.url, manifestPath('v1', name), { headers });
      expect(outcome(answer)).toBe('401 UNAUTHORIZED');
    }
  });

  it('the configuration that comes with it has no users and no secrets', () => {
    const cwd = new URL('../../', import.meta.url).pathname;
    const { access, registries } = loadConfig({ file: 'config.yaml', env: {}, cwd });
    expect(access.users).toEqual({});
    expect(access.htpasswd).toBeUndefined();
    expect(access.passthrough).toBe(false);
    for (const { upstreams } of Object.values(registries)) {
      for (const upstream of upstreams) expect(upstream.password).toBeUndefined();
    }
  });
});

const dragonfly =
  'CVE-2025-59345 to CVE-2025-59352, GO-2025-3963 to GO-2025-3974, GO-2026-4356 (Dragonfly): open job APIs, weak integrity, timing';

describe(dragonfly, () => {
  it('a name that nobody has takes the same slow comparison as one that somebody has', async () => {
    const { proxy } = await scene();
    const compare = vi.spyOn(BcryptThread.prototype, 'compare');
    onTestFinished(() => compare.mockRestore());
    for (const name of ['ann', 'nobody', 'root']) {
      const answer = await request(proxy.url, '/token?scope=repository:a:pull', {
        headers: basic(name, 'a guess'),
      });
      expect(answer.status).toBe(401);
    }
    const hashes = compare.mock.calls.map((call) => call.find((each) => String(each).startsWith('$2')));
    expect(hashes).toHaveLength(3);
    const costs = hashes.map((hash) => String(hash).slice(4, 6));
    expect(new Set(costs).size).toBe(1);
  });

  const { operations } = scriptedOperations();
  const names = { defaultRegistry: 'ghcr.io', registries: ['ghcr.io'] };
  const all = adminRoutes({ operations, log: captureLog().log }, names).routes;
  const body = JSON.stringify({
    image: `ghcr.io/${repository}`,
    tag: 'v1',
    digest: image.manifest.digest,
  });
  const bodies = [body, JSON.stringify({ image: `ghcr.io/${repository}`, tag: 'v1' })];
  const lists = [JSON.stringify({ images: [`ghcr.io/${repository}:v1`] })];

  it.each(all.map(({ method, path }) => [method === 'ALL' ? 'GET' : method, path] as const))(
    '%s %s is refused without the login of an admin, and changes nothing',
    async (method, path) => {
      const { upstream, proxy } = await scene();
      await mustGet(proxy.url, `${manifestPath('v1')}`).catch(() => undefined);
      upstream.journal.clear();
      const target = `${path.replace('*', 'anything')}?image=ghcr.io/${repository}`;
      const ask = (headers: object, text: string) => {
        const length = method === 'GET' ? {} : { 'content-length': String(Buffer.byteLength(text)) };
        const sent = { 'content-type': 'application/json', ...length, ...headers };
        return request(proxy.url, target, {
          method,
          headers: sent,
          ...(method !== 'GET' && { body: text }),
        });
      };
      const tokenAnswer = await request(proxy.url, '/token?scope=repository:a:*', { headers: basic('root') });
      const { token } = JSON.parse(tokenAnswer.text) as { token: string };
      let refused = 0;
      for (const text of [...bodies, ...lists]) {
        const seen = [
          await ask({}, text),
          await ask(basic('root', 'wrong'), text),
          await ask(basic('ann'), text),
          // A token, which other hosts may have seen, does not steer the server.
          await ask({ authorization: `Bearer ${token}` }, text),
        ].map(({ status }) => status);
        expect(seen.every((status) => status >= 400 && status < 500)).toBe(true);
        if (seen.join() === '401,401,403,401') refused += 1;
      }
      expect(refused).toBeGreaterThan(0);
      expect(upstream.journal.count()).toBe(0);
    },
  );

  it('there are admin routes to be refused', () => {
    expect(all.length).toBeGreaterThanOrEqual(4);
  });

  it('a web page cannot make an admin’s browser send what changes something', async () => {
    const { proxy } = await scene();
    for (const type of ['text/plain', 'application/x-www-form-urlencoded', 'multipart/form-data', '']) {
      const headers = { ...basic('root'), ...(type !== '' && { 'content-type': type }) };
      const answer = await request(proxy.url, '/api/v1/rollback', { method: 'POST', headers, body });
      expect(answer.status).toBe(400);
      expect(ociError(answer).message).toContain('application/json');
    }
  });

  it('the control socket is for its owner alone', async () => {
    const { proxy } = await scene();
    const path = join(proxy.storagePath, 'control.sock');
    expect(statSync(path).mode & 0o777).toBe(0o600);
    const socket = createConnection(path);
    await new Promise((resolve) => socket.once('connect', resolve));
    socket.destroy();
  });

  it('no weak hash is in use, and no digest of one is accepted', async () => {
    const root = new URL('../../src/', import.meta.url).pathname;
    const files = readdirSync(root, { recursive: true, encoding: 'utf8' }).filter((file) =>
      file.endsWith('.ts'),
    );
    for (const file of files) {
      expect(readFileSync(join(root, file), 'utf8'), file).not.toMatch(
        /create(?:Hash|Hmac)\('(?!sha(?:256|512)')/,
      );
    }
    const { proxy } = await scene();
    for (const digest of [`md5:${'a'.repeat(32)}`, `sha1:${'a'.repeat(40)}`]) {
      expect(outcome(await request(proxy.url, `/v2/${repository}/blobs/${digest}`))).toBe(
        '400 DIGEST_INVALID',
      );
    }
  });

  it('an unknown user is answered as a wrong password is', async () => {
    const { proxy } = await scene();
    const [unknown, wrong] = [basic('nobody', 'x'), basic('ann', 'x')];
    const [first, second] = [
      await request(proxy.url, '/token', { headers: unknown }),
      await request(proxy.url, '/token', { headers: wrong }),
    ];
    expect(first.status).toBe(401);
    expect(first.text).toBe(second.text);
    expect(first.headers['www-authenticate']).toBe(second.headers['www-authenticate']);
  });
});
