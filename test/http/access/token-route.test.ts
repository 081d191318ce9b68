import { describe, expect, test } from 'vitest';
import { parseScopes } from '../../../src/http/access/token-route.ts';
import type { Grant } from '../../../src/policy/access.ts';
import { type Answer, ociError, outcome } from '../../helpers/request.ts';
import { basic, openGateScene } from './gate-scene.ts';

const library: readonly Grant[] = [{ images: ['docker.io/library/**'], actions: ['pull'] }];
const users: Readonly<Record<string, readonly Grant[]>> = {
  builder: [{ images: ['local/**'], actions: ['pull', 'push'] }],
};
const form = { 'content-type': 'application/x-www-form-urlencoded' };

type TokenBody = { token: string; access_token: string; expires_in: number; issued_at: string };

function tokenOf(answer: Answer): TokenBody {
  expect(answer.status, answer.text).toBe(200);
  expect(answer.headers['cache-control']).toBe('no-store');
  return JSON.parse(answer.text) as TokenBody;
}

describe('GET /token', () => {
  test('turns a login into a token for what was asked, and the registry takes it', async () => {
    const { ask, tokens } = await openGateScene({ users });
    const query = 'account=builder&client_id=docker&offline_token=true&service=entrepot';
    const scope = 'scope=repository%3Alocal%2Fapp%3Apull%2Cpush&scope=repository:local/base:pull';
    const body = tokenOf(await ask(`/token?${query}&${scope}`, { as: 'builder' }));
    expect(body).toMatchObject({ expires_in: 300, issued_at: '2026-01-01T00:00:00.000Z' });
    expect(body.access_token).toBe(body.token);
    expect(await tokens.verify(body.token)).toEqual({
      kind: 'bearer',
      name: 'builder',
      access: [
        { name: 'local/app', actions: ['pull', 'push'] },
        { name: 'local/base', actions: ['pull'] },
      ],
    });
    const pushed = await ask('/v2/local/app/manifests/1', { bearer: body.token, method: 'PUT' });
    expect(pushed.status).toBe(200);
  });

  test('without a scope is how docker login tries a password', async () => {
    const { ask, tokens } = await openGateScene({ users });
    const { token } = tokenOf(await ask('/token?service=entrepot', { as: 'builder' }));
    expect(await tokens.verify(token)).toMatchObject({ name: 'builder', access: [] });
    expect((await ask('/v2/', { bearer: token })).status).toBe(200);
  });

  test.each([
    ['a wrong password', basic('builder', 'wrong')],
    ['a name that nobody has', basic('nobody')],
    ['no Basic at all', 'Basic'],
    ['another scheme', 'Digest abc'],
  ])('refuses %s with an OCI body', async (_, authorization) => {
    const { ask } = await openGateScene({ anonymous: library, users });
    const answer = await ask('/token', { headers: { authorization } });
    expect(outcome(answer)).toBe('401 UNAUTHORIZED');
    expect(ociError(answer).message).toContain('incorrect username or password');
    expect(answer.headers['www-authenticate']).toBe('Basic realm="entrepot", charset="UTF-8"');
  });

  test('never trades a token for another', async () => {
    const { ask, tokens } = await openGateScene({ anonymous: library, users });
    const { token } = await tokens.issue('builder', []);
    expect(outcome(await ask('/token', { bearer: token }))).toBe('401 UNAUTHORIZED');
  });

  test('gives a token without a login where anonymous may pull, and only there', async () => {
    const open = await openGateScene({ anonymous: library, users });
    const scope = '?scope=repository:docker.io/library/nginx:pull';
    const { token } = tokenOf(await open.ask(`/token${scope}`));
    expect(await open.tokens.verify(token)).toMatchObject({ name: undefined });
    const pulled = await open.ask('/v2/docker.io/library/nginx/manifests/1', { bearer: token });
    expect(pulled.status).toBe(200);
    tokenOf(await open.ask(`/token${scope}`, { headers: { authorization: 'Basic Og==' } }));
    const closed = await openGateScene({ users });
    expect(outcome(await closed.ask(`/token${scope}`))).toBe('401 UNAUTHORIZED');
  });

  test('limits failed logins', async () => {
    const { ask } = await openGateScene({ users });
    for (let guess = 0; guess < 10; guess++) {
      expect((await ask('/token', { headers: { authorization: basic('builder', `${guess}`) } })).status).toBe(
        401,
      );
    }
    const answer = await ask('/token', { as: 'builder' });
    expect(outcome(answer)).toBe('429 TOOMANYREQUESTS');
    expect(answer.headers['retry-after']).toBe('6');
  });

  test('answers HEAD without a body', async () => {
    const { ask } = await openGateScene({ users });
    const answer = await ask('/token', { as: 'builder', method: 'HEAD' });
    expect(answer).toMatchObject({ status: 200, length: 0, complete: true });
  });
});

describe('POST /token', () => {
  test('takes the password from the form, as containerd sends it', async () => {
    const { ask, tokens } = await openGateScene({ users });
    const body = new URLSearchParams({
      grant_type: 'password',
      service: 'entrepot',
      client_id: 'containerd-client',
      scope: 'repository:local/app:pull repository:app:pull',
      username: 'builder',
      password: 'builderbuilder',
    }).toString();
    const { access_token: token } = tokenOf(await ask('/token', { method: 'POST', headers: form, body }));
    expect(await tokens.verify(token)).toMatchObject({
      name: 'builder',
      access: [{ name: 'local/app' }, { name: 'app' }],
    });
  });

  test('refuses a wrong password, and asks for GET where it does not know the grant', async () => {
    const { ask } = await openGateScene({ users });
    const post = (body: string, headers: Record<string, string> = form) => {
      return ask('/token', { method: 'POST', headers, body });
    };
    expect(outcome(await post('grant_type=password&username=builder&password=x'))).toBe('401 UNAUTHORIZED');
    expect(outcome(await post('grant_type=password'))).toBe('401 UNAUTHORIZED');
    const refresh = await post('grant_type=refresh_token&refresh_token=x');
    expect(outcome(refresh)).toBe('405 UNSUPPORTED');
    expect(refresh.headers['allow']).toBe('GET, HEAD');
    const json = await post('{"username":"builder"}', { 'content-type': 'application/json' });
    expect(outcome(json)).toBe('405 UNSUPPORTED');
  });

  test('does not read a form without end', async () => {
    const { ask } = await openGateScene({ users });
    const body = `grant_type=password&username=${'x'.repeat(150_000)}`;
    const answer = await ask('/token', { method: 'POST', headers: form, body });
    expect(outcome(answer)).toBe('400 SIZE_INVALID');
    expect(answer.headers['connection']).toBe('close');
  });
});

test.each<[readonly string[], unknown]>([
  [[], []],
  [['repository:library/nginx:pull'], [{ name: 'library/nginx', actions: ['pull'] }]],
  [['repository:host:5000/a/b:pull,push,pull'], [{ name: 'host:5000/a/b', actions: ['pull', 'push'] }]],
  [['repository:x:*'], [{ name: 'x', actions: ['pull', 'push', 'delete'] }]],
  [['repository(plugin):x:pull'], [{ name: 'x', actions: ['pull'] }]],
  [['repository:x:admin'], []],
  [['repository:x:'], []],
  [['repository::pull'], []],
  [['registry:catalog:*'], []],
  [['repository:x'], []],
  [['', ' ', 'nonsense'], []],
  [[`repository:${'x'.repeat(600)}:pull`], []],
])('the scopes %j are %j', (values, expected) => {
  expect(parseScopes(values)).toEqual(expected);
});

test('no token is for more than 32 scopes', () => {
  const many = Array.from({ length: 100 }, (_, index) => `repository:x${index}:pull`).join(' ');
  expect(parseScopes([many])).toHaveLength(32);
});
