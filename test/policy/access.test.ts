import { expect, test } from 'vitest';
import { Access, type Action, actionOf, anonymous, type Identity } from '../../src/policy/access.ts';

const access = new Access({
  anonymous: [{ images: ['docker.io/library/**'], actions: ['pull'] }],
  users: new Map([
    ['builder', [{ images: ['local/**'], actions: ['pull', 'push'] as const }]],
    ['root', [{ images: ['**'], actions: ['pull', 'push', 'delete', 'admin'] as const }]],
    ['nothing', []],
  ]),
  others: [{ images: ['ghcr.io/*/public'], actions: ['pull'] }],
});

const user = (name: string): Identity => ({ kind: 'user', name });

test.each<[Identity, Action, string, boolean]>([
  [anonymous, 'pull', 'docker.io/library/nginx', true],
  // As in the rules of the policy, whose globs are the same.
  [anonymous, 'pull', 'docker.io/library', true],
  [anonymous, 'pull', 'docker.io/libraryx/nginx', false],
  [anonymous, 'pull', 'ghcr.io/docker.io/library/nginx', false],
  [anonymous, 'push', 'docker.io/library/nginx', false],
  [anonymous, 'pull', 'local/team/app', false],
  [user('builder'), 'pull', 'local/team/app', true],
  [user('builder'), 'push', 'local/team/app', true],
  [user('builder'), 'delete', 'local/team/app', false],
  [user('builder'), 'admin', 'local/team/app', false],
  [user('builder'), 'pull', 'docker.io/library/nginx', true],
  [user('builder'), 'pull', 'ghcr.io/org/public', false],
  [user('root'), 'delete', 'ghcr.io/org/app', true],
  [user('root'), 'admin', 'local/team/.hidden', true],
  [user('nothing'), 'pull', 'docker.io/library/nginx', true],
  [user('nothing'), 'pull', 'ghcr.io/org/public', false],
  [user('from-htpasswd'), 'pull', 'ghcr.io/org/public', true],
  [user('from-htpasswd'), 'pull', 'ghcr.io/org/deep/public', false],
  [user('constructor'), 'push', 'local/team/app', false],
  [user('Builder'), 'push', 'local/team/app', false],
])('%j may %s %s: %s', (identity, action, image, expected) => {
  expect(access.allows(identity, action, image)).toBe(expected);
});

test.each([
  ['GET', 'pull'],
  ['HEAD', 'pull'],
  ['POST', 'push'],
  ['PUT', 'push'],
  ['PATCH', 'push'],
  ['DELETE', 'delete'],
  ['OPTIONS', undefined],
  ['MKCOL', undefined],
  ['get', undefined],
  ['constructor', undefined],
  ['__proto__', undefined],
  [undefined, undefined],
])(
  'CVE-2026-61833: the method %s is the action %s, and no right to push is one to delete',
  (method, action) => {
    expect(actionOf(method)).toBe(action);
  },
);

test('a token narrows what its user may, and never adds to it', () => {
  const bearer = (name: string | undefined, addressed: string, actions: readonly Action[]): Identity => {
    return { kind: 'bearer', name, access: [{ name: addressed, actions }] };
  };
  const app = 'local/team/app';
  expect(access.judge(bearer('builder', app, ['pull']), 'pull', app)).toBe('allowed');
  expect(access.judge(bearer('builder', app, ['pull']), 'push', app)).toBe('outside-token');
  expect(access.judge(bearer('builder', 'local/team/other', ['pull']), 'pull', app)).toBe('outside-token');
  expect(access.judge(bearer('builder', app, ['delete']), 'delete', app)).toBe('refused');
  expect(access.judge(bearer('nothing', app, ['pull']), 'pull', app)).toBe('refused');
  expect(access.judge(bearer(undefined, app, ['pull']), 'pull', app)).toBe('refused');
  expect(access.judge(bearer('root', app, ['admin']), 'admin', app, 'other')).toBe('outside-token');
});

test('a token is compared with the name in the request, the grants with the image that it means', () => {
  const bearer: Identity = {
    kind: 'bearer',
    name: 'builder',
    access: [{ name: 'team/app', actions: ['pull'] }],
  };
  expect(access.judge(bearer, 'pull', 'local/team/app', 'team/app')).toBe('allowed');
  expect(access.judge(bearer, 'pull', 'ghcr.io/team/app', 'team/app')).toBe('refused');
});

test('a token of any scope keeps what anonymous may', () => {
  const bearer: Identity = { kind: 'bearer', name: undefined, access: [] };
  expect(access.judge(bearer, 'pull', 'docker.io/library/nginx')).toBe('allowed');
});

test('openToAll is about every image, opensSomething about any, closed about none', () => {
  const open = new Access({ anonymous: [{ images: ['**'], actions: ['pull'] }], users: new Map() });
  expect(open.openToAll('pull')).toBe(true);
  expect(open.openToAll('push')).toBe(false);
  expect(access.openToAll('pull')).toBe(false);
  expect(access.opensSomething('pull')).toBe(true);
  expect(access.opensSomething('push')).toBe(false);
  expect(access.closed).toBe(false);
  const closed = new Access({ anonymous: [], users: new Map() });
  expect([closed.closed, closed.opensSomething('pull')]).toEqual([true, false]);
  expect(new Access({ anonymous: [{ images: ['**'], actions: [] }], users: new Map() }).closed).toBe(true);
});

test('a right to everything takes a grant on ** and a login, not a token', () => {
  expect(access.everywhere(user('root'), 'admin')).toBe(true);
  expect(access.everywhere(user('builder'), 'push')).toBe(false);
  expect(access.everywhere(anonymous, 'admin')).toBe(false);
  expect(access.everywhere({ kind: 'bearer', name: 'root', access: [] }, 'admin')).toBe(false);
});
