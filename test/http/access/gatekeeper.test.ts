import { describe, expect, test } from 'vitest';
import type { Grant } from '../../../src/policy/access.ts';
import { ociError, outcome } from '../../helpers/request.ts';
import { type Ask, basic, openGateScene } from './gate-scene.ts';

const everything: readonly Grant[] = [{ images: ['**'], actions: ['pull'] }];
const library: readonly Grant[] = [{ images: ['docker.io/library/**'], actions: ['pull'] }];
const users: Readonly<Record<string, readonly Grant[]>> = {
  alice: [{ images: ['ghcr.io/org/**', 'local/**'], actions: ['pull'] }],
  builder: [{ images: ['local/**'], actions: ['pull', 'push'] }],
  root: [{ images: ['**'], actions: ['pull', 'push', 'delete', 'admin'] }],
};
const digest = `sha256:${'a'.repeat(64)}`;

/** Paths of ghcr.io/org/app as each kind of traffic names it. */
const mirrorPaths = [
  '/v2/org/app/manifests/1?ns=ghcr.io',
  '/v2/ghcr.io/org/app/manifests/1?ns=ghcr.io',
  '/ghcr.io/v2/org/app/manifests/1',
  `/ghcr.io/v2/org/app/blobs/${digest}`,
  '/v2/private/app/manifests/1',
  '/v2/org/app/tags/list?ns=ghcr.io',
];

describe('mirror traffic', () => {
  test.each(mirrorPaths)('%s is never challenged: it is answered as what does not exist', async (path) => {
    const { ask } = await openGateScene({ anonymous: library, users });
    const answers = [
      await ask(path),
      await ask(path, { headers: { authorization: basic('hubuser', 'hub password') } }),
      await ask(path, { bearer: 'a.foreign.token' }),
      await ask(path, { headers: { authorization: 'Negotiate abc' } }),
      await ask(path, { headers: { authorization: 'Basic Og==' } }),
    ];
    for (const answer of answers) {
      expect(outcome(answer)).toBe('404 NAME_UNKNOWN');
      expect(answer.headers).not.toHaveProperty('www-authenticate');
      expect(answer.text).toBe(answers[0]?.text);
    }
  });

  test('foreign credentials count as none where anonymous may', async () => {
    const { ask, atOnce } = await openGateScene({ anonymous: everything, users });
    for (const path of mirrorPaths) {
      expect((await ask(path, { headers: { authorization: basic('hubuser', 'x') } })).status).toBe(200);
    }
    expect(atOnce).toEqual(mirrorPaths.map(() => true));
  });

  test('a user who is known is let in by the grants, and told when they do not reach', async () => {
    const { ask, facts } = await openGateScene({ anonymous: library, users });
    expect((await ask('/v2/org/app/manifests/1?ns=ghcr.io', { as: 'alice' })).status).toBe(200);
    expect(facts.at(-1)?.user).toBe('alice');
    const refused = await ask('/v2/private/app/manifests/1', { as: 'alice' });
    expect(outcome(refused)).toBe('403 DENIED');
    expect(ociError(refused).message).toContain('user alice may not pull docker.io/private/app');
  });

  test('a client that failed too often is answered as everybody, not with a 429', async () => {
    const { ask } = await openGateScene({ anonymous: library, users });
    for (let guess = 0; guess < 12; guess++) {
      const headers = { authorization: basic('alice', `guess ${guess}`) };
      expect(outcome(await ask('/ghcr.io/v2/org/app/manifests/1', { headers }))).toBe('404 NAME_UNKNOWN');
    }
  });

  test('/v2/ asks nobody for a login', async () => {
    const { ask } = await openGateScene({ anonymous: library, users, loginHosts: ['login.test'] });
    for (const asked of [{}, { headers: { authorization: basic('hubuser', 'x') } }, { as: 'alice' }]) {
      expect((await ask('/v2/', asked)).status).toBe(200);
      expect((await ask('/docker.io/v2/', { ...asked, host: 'login.test' })).status).toBe(200);
      expect((await ask('/v2/?ns=docker.io', { ...asked, host: 'login.test' })).status).toBe(200);
    }
  });
});

describe('direct traffic', () => {
  test('who is not logged in is told where a token is, for the name as it stands in the path', async () => {
    const { ask, origin } = await openGateScene({ anonymous: library, users });
    const answer = await ask('/v2/ghcr.io/org/app/manifests/1');
    expect(outcome(answer)).toBe('401 UNAUTHORIZED');
    expect(answer.headers['www-authenticate']).toBe(
      `Bearer realm="${origin}/token",service="entrepot",scope="repository:ghcr.io/org/app:pull", ` +
        'Basic realm="entrepot", charset="UTF-8"',
    );
    const push = await ask('/v2/local/app/manifests/1', { method: 'PUT' });
    expect(push.headers['www-authenticate']).toContain('scope="repository:local/app:pull,push"');
    const drop = await ask(`/v2/local/app/blobs/${digest}`, { method: 'DELETE' });
    expect(drop.headers['www-authenticate']).toContain('scope="repository:local/app:delete"');
  });

  test.each<[string, string, Ask, string]>([
    ['/v2/ghcr.io/org/app/manifests/1', 'GET', { as: 'alice' }, '200'],
    [`/v2/ghcr.io/org/app/blobs/${digest}`, 'HEAD', { as: 'alice' }, '200'],
    ['/v2/docker.io/library/nginx/manifests/1', 'GET', {}, '200'],
    ['/v2/docker.io/nginx/manifests/1', 'GET', { as: 'alice' }, '200'],
    ['/v2/docker.io/private/app/manifests/1', 'GET', { as: 'alice' }, '403 DENIED'],
    ['/v2/local/app/manifests/1', 'PUT', { as: 'alice' }, '403 DENIED'],
    ['/v2/local/app/manifests/1', 'PUT', { as: 'builder' }, '200'],
    ['/v2/local/app/blobs/uploads/', 'POST', { as: 'builder' }, '200'],
    ['/v2/local/app/blobs/uploads/1', 'PATCH', { as: 'builder' }, '200'],
    ['/v2/local/app/manifests/1', 'DELETE', { as: 'builder' }, '403 DENIED'],
    ['/v2/local/app/manifests/1', 'DELETE', { as: 'root' }, '200'],
    ['/v2/local/app/manifests/1', 'OPTIONS', { as: 'root' }, '405 UNSUPPORTED'],
    [
      '/v2/ghcr.io/org/app/manifests/1',
      'GET',
      { headers: { authorization: 'Basic Og==' } },
      '401 UNAUTHORIZED',
    ],
    ['/v2/ghcr.io/org/app/manifests/1', 'GET', { headers: { authorization: 'Basic' } }, '401 UNAUTHORIZED'],
    [
      '/v2/ghcr.io/org/app/manifests/1',
      'GET',
      { headers: { authorization: 'Basic !!' } },
      '401 UNAUTHORIZED',
    ],
  ])('%s %s of %j comes to %s', async (path, method, asked, expected) => {
    const { ask } = await openGateScene({ anonymous: library, users });
    const answer = await ask(path, { ...asked, method });
    expect(method === 'HEAD' ? String(answer.status) : outcome(answer)).toBe(expected);
  });

  test('CVE-2026-61833: the right to push is not the right to delete', async () => {
    const { ask } = await openGateScene({ users });
    const answer = await ask('/v2/local/app/manifests/1', { as: 'builder', method: 'DELETE' });
    expect(ociError(answer).message).toContain('user builder may not delete local/app');
  });

  test('a wrong password is told as such, even where anonymous may', async () => {
    const { ask } = await openGateScene({ anonymous: everything, users });
    const headers = { authorization: basic('alice', 'wrong') };
    const answer = await ask('/v2/ghcr.io/org/app/manifests/1', { headers });
    expect(outcome(answer)).toBe('401 UNAUTHORIZED');
    expect(ociError(answer).message).toContain('incorrect username or password');
    const nobody = await ask('/v2/ghcr.io/org/app/manifests/1', { as: 'nobody' });
    expect(nobody.text).toBe(answer.text);
  });

  test('too many failures are answered 429 with the time to wait', async () => {
    const { ask } = await openGateScene({ anonymous: library, users });
    const path = '/v2/ghcr.io/org/app/manifests/1';
    const guess = (password: string) => ask(path, { headers: { authorization: basic('alice', password) } });
    for (let index = 0; index < 10; index++) expect((await guess(`guess ${index}`)).status).toBe(401);
    const answer = await guess('guess 10');
    expect(outcome(answer)).toBe('429 TOOMANYREQUESTS');
    expect(answer.headers['retry-after']).toBe('6');
    expect(answer.headers).not.toHaveProperty('www-authenticate');
  });

  test('where nobody can log in, a refusal is no challenge and credentials mean nothing', async () => {
    const { ask } = await openGateScene({ anonymous: library, loginHosts: ['login.test'] });
    const refused = await ask('/v2/ghcr.io/org/app/manifests/1', { as: 'alice' });
    expect(outcome(refused)).toBe('403 DENIED');
    expect(refused.headers).not.toHaveProperty('www-authenticate');
    expect((await ask('/v2/docker.io/library/nginx/manifests/1', { bearer: 'x.y.z' })).status).toBe(200);
    expect((await ask('/v2/', { host: 'login.test' })).status).toBe(200);
  });
});

describe('login hosts', () => {
  const loginHosts = ['Login.test', 'port.test:5000'];

  test.each([
    ['login.test', 401],
    ['LOGIN.TEST:8443', 401],
    ['port.test:5000', 401],
    ['port.test:5001', 200],
    ['port.test', 200],
    ['login.test.evil', 200],
    ['notlogin.test', 200],
  ])('/v2/ at %s is answered %i', async (host, status) => {
    const { ask } = await openGateScene({ anonymous: everything, users, loginHosts });
    expect((await ask('/v2/', { host })).status).toBe(status);
  });

  test('/v2/ names the token route and nothing else, since dockerd would insist on Basic', async () => {
    const { ask } = await openGateScene({ anonymous: everything, users, loginHosts });
    const answer = await ask('/v2/', { host: 'login.test' });
    expect(answer.headers['www-authenticate']).toBe(
      'Bearer realm="http://login.test/token",service="entrepot"',
    );
    expect(ociError(answer).code).toBe('UNAUTHORIZED');
  });

  test('a good login is let in there, a bad one is not', async () => {
    const { ask, tokens, facts } = await openGateScene({ anonymous: everything, users, loginHosts });
    const host = 'login.test';
    expect((await ask('/v2/', { host, as: 'alice' })).status).toBe(200);
    expect(facts.at(-1)?.user).toBe('alice');
    const { token } = await tokens.issue(undefined, []);
    expect((await ask('/v2/', { host, bearer: token })).status).toBe(200);
    expect((await ask('/v2/', { host, as: 'mallory' })).status).toBe(401);
    expect((await ask('/v2/', { host, headers: { authorization: 'Basic Og==' } })).status).toBe(401);
    const stale = await ask('/v2/', { host, bearer: 'a.b.c' });
    expect(stale.headers['www-authenticate']).toContain('error="invalid_token"');
  });

  test('traffic there is direct without a registry in the path, unless it says that it is a mirror', async () => {
    const { ask } = await openGateScene({ anonymous: library, users, loginHosts });
    const host = 'login.test';
    const answer = await ask('/v2/private/app/manifests/1', { host });
    expect(outcome(answer)).toBe('401 UNAUTHORIZED');
    expect(answer.headers['www-authenticate']).toContain('scope="repository:private/app:pull"');
    expect((await ask('/v2/nginx/manifests/1', { host })).status).toBe(200);
    for (const path of mirrorPaths.filter((each) => !each.startsWith('/v2/private'))) {
      expect(outcome(await ask(path, { host }))).toBe('404 NAME_UNKNOWN');
    }
  });

  test('where anonymous may nothing, every host is one', async () => {
    const { ask } = await openGateScene({ users });
    expect((await ask('/v2/', { host: 'any.test' })).status).toBe(401);
    expect(outcome(await ask('/v2/private/app/manifests/1'))).toBe('401 UNAUTHORIZED');
    expect((await ask('/docker.io/v2/')).status).toBe(200);
    expect(outcome(await ask('/docker.io/v2/library/nginx/manifests/1'))).toBe('404 NAME_UNKNOWN');
  });
});

describe('tokens', () => {
  const path = '/v2/local/app/manifests/1';
  const scope = (name: string, ...actions: ('pull' | 'push')[]) => [{ name, actions }];

  test('a token lets in for what it was issued for, and asks for another beyond that', async () => {
    const { ask, tokens, facts } = await openGateScene({ anonymous: library, users });
    const { token: bearer } = await tokens.issue('builder', scope('local/app', 'pull'));
    expect((await ask(path, { bearer })).status).toBe(200);
    expect(facts.at(-1)?.user).toBe('builder');
    const push = await ask(path, { bearer, method: 'PUT' });
    expect(outcome(push)).toBe('401 UNAUTHORIZED');
    expect(push.headers['www-authenticate']).toContain(
      'scope="repository:local/app:pull,push",error="insufficient_scope"',
    );
    expect(outcome(await ask('/v2/local/other/manifests/1', { bearer }))).toBe('401 UNAUTHORIZED');
  });

  test('a token gives nothing that its user does not have', async () => {
    const { ask, tokens } = await openGateScene({ anonymous: library, users });
    const { token: alice } = await tokens.issue('alice', scope('local/app', 'pull', 'push'));
    expect(outcome(await ask(path, { bearer: alice, method: 'PUT' }))).toBe('403 DENIED');
    const { token: gone } = await tokens.issue('dismissed', scope('local/app', 'pull'));
    expect(outcome(await ask(path, { bearer: gone }))).toBe('401 UNAUTHORIZED');
    const { token: nobody } = await tokens.issue(undefined, scope('local/app', 'pull'));
    const answer = await ask(path, { bearer: nobody });
    expect(outcome(answer)).toBe('401 UNAUTHORIZED');
    expect(answer.headers['www-authenticate']).toContain('error="insufficient_scope"');
  });

  test('a token is for the name in the path, whatever registry the host stands for', async () => {
    const host = 'ghcr.mirror.test';
    const { ask, tokens } = await openGateScene({ anonymous: library, users, loginHosts: [host] });
    const { token: bearer } = await tokens.issue('alice', scope('org/app', 'pull'));
    expect((await ask('/v2/org/app/manifests/1', { host, bearer })).status).toBe(200);
    expect(outcome(await ask('/v2/org/app/manifests/1', { bearer }))).toBe('403 DENIED');
  });

  test('an old token is answered so that the client asks for a new one', async () => {
    const { ask, tokens, clock } = await openGateScene({ anonymous: everything, users });
    const { token: bearer } = await tokens.issue('alice', scope('local/app', 'pull'));
    expect((await ask(path, { bearer })).status).toBe(200);
    clock.advance(300_000);
    const answer = await ask(path, { bearer });
    expect(answer.headers['www-authenticate']).toContain('error="invalid_token"');
  });

  test('a verified token and a password known to be right are decided on at once', async () => {
    const { ask, tokens, atOnce } = await openGateScene({ anonymous: library, users });
    const { token: bearer } = await tokens.issue('alice', scope('local/app', 'pull'));
    for (let turn = 0; turn < 2; turn++) {
      await ask(path, { bearer });
      await ask(path, { as: 'alice' });
      await ask('/v2/docker.io/library/nginx/manifests/1');
    }
    expect(atOnce).toEqual([false, false, true, true, true, true]);
  });
});

describe('the realm of a challenge', () => {
  const realmOf = async (
    host: string,
    options: { realm?: string; headers?: Record<string, string> } = {},
  ) => {
    const { ask } = await openGateScene({ users, ...(options.realm && { realm: options.realm }) });
    const answer = await ask('/v2/', { host, ...(options.headers && { headers: options.headers }) });
    return /realm="([^"]*)"/.exec(answer.headers['www-authenticate'] ?? '')?.[1];
  };

  test.each([
    ['reg.test', 'http://reg.test/token'],
    ['reg.test:5000', 'http://reg.test:5000/token'],
    ['[::1]:5000', 'http://[::1]:5000/token'],
    ['reg.test"', 'entrepot'],
    ['reg.test/x', 'entrepot'],
    ['user@reg.test', 'entrepot'],
    ['reg.test,x', 'entrepot'],
    ['reg.test x', 'entrepot'],
    ['reg.test:port', 'entrepot'],
    ['.', 'entrepot'],
    [`${'a'.repeat(256)}`, 'entrepot'],
  ])('is made of the host %s only when that is one', async (host, realm) => {
    expect(await realmOf(host)).toBe(realm);
  });

  test('is https where a proxy says so, and otherwise what is configured', async () => {
    expect(await realmOf('reg.test', { headers: { 'x-forwarded-proto': 'https' } })).toBe(
      'https://reg.test/token',
    );
    expect(await realmOf('reg.test', { headers: { 'x-forwarded-proto': 'gopher' } })).toBe(
      'http://reg.test/token',
    );
    expect(await realmOf('a"b', { realm: 'https://auth.test/token' })).toBe('https://auth.test/token');
  });
});

describe('administration', () => {
  test('takes the password of a user with the grant', async () => {
    const { ask, tokens } = await openGateScene({ anonymous: everything, users });
    expect((await ask('/admin', { as: 'root' })).status).toBe(200);
    expect(outcome(await ask('/admin', { as: 'builder' }))).toBe('403 DENIED');
    const { token: bearer } = await tokens.issue('root', []);
    for (const asked of [{}, { bearer }, { as: 'mallory' }]) {
      const answer = await ask('/admin', asked);
      expect(outcome(answer)).toBe('401 UNAUTHORIZED');
      expect(answer.headers['www-authenticate']).toBe('Basic realm="entrepot", charset="UTF-8"');
    }
  });
});

test('no answer and no log line holds a password or a token', async () => {
  const { ask, log, facts } = await openGateScene({ anonymous: library, users });
  const path = '/v2/ghcr.io/org/app/manifests/1';
  const answers = [
    await ask(path, { headers: { authorization: basic('alice', 'hunter2') } }),
    await ask(path, { headers: { authorization: basic('hunter2', 'hunter2') } }),
    await ask(path, { bearer: 'hunter2' }),
  ];
  const everythingSaid = answers.map((answer) => answer.text + JSON.stringify(answer.headers)).join();
  expect(everythingSaid + log.text() + JSON.stringify(facts)).not.toContain('hunter2');
  expect(everythingSaid).not.toContain(Buffer.from('hunter2').toString('base64').slice(0, 8));
});

describe('a server that nobody may use without a login', () => {
  test('asks for it under every name when no login host is named', async () => {
    const { ask } = await openGateScene({ users });
    expect((await ask('/v2/')).status).toBe(401);
  });

  test('asks for it at its login hosts only when there are some, since the other names may be mirrors', async () => {
    const { ask } = await openGateScene({ users, loginHosts: ['registry.corp'] });
    expect((await ask('/v2/', { host: 'registry.corp' })).status).toBe(401);
    expect((await ask('/v2/', { host: 'mirror.corp' })).status).toBe(200);
    expect(outcome(await ask('/v2/private/app/manifests/1', { host: 'mirror.corp' }))).toBe(
      '404 NAME_UNKNOWN',
    );
  });
});
