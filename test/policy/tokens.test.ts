import { createHmac, randomBytes } from 'node:crypto';
import { expect, test } from 'vitest';
import { Tokens } from '../../src/policy/tokens.ts';
import { makeManualClock } from '../helpers/manual-clock.ts';

const key = randomBytes(32);
const access = [{ name: 'local/team/app', actions: ['pull', 'push'] as const }];

function makeTokens(secret: Uint8Array = key) {
  const clock = makeManualClock();
  return { clock, tokens: new Tokens({ clock }, { key: secret }) };
}

function encode(value: unknown): string {
  return Buffer.from(JSON.stringify(value)).toString('base64url');
}

/** A token whose header says what the attacker likes, signed with the key all the same. */
function forge(header: object, claims: object, secret: Uint8Array = key, hash = 'sha256'): string {
  const text = `${encode(header)}.${encode(claims)}`;
  return `${text}.${createHmac(hash, secret).update(text).digest('base64url')}`;
}

function goodClaims(now: number) {
  const seconds = Math.floor(now / 1000);
  const claims = [{ type: 'repository', name: 'x', actions: ['pull'] }];
  return { iss: 'entrepot', aud: 'entrepot', sub: 'alice', iat: seconds, exp: seconds + 300, access: claims };
}

test('a token says who it belongs to and what for, and is verified once', async () => {
  const { tokens } = makeTokens();
  const { token, lifetime } = await tokens.issue('alice', access);
  expect(lifetime).toBe(300);
  const first = tokens.verify(token);
  expect(first).toBeInstanceOf(Promise);
  expect(await first).toEqual({ kind: 'bearer', name: 'alice', access });
  expect(tokens.verify(token)).toEqual({ kind: 'bearer', name: 'alice', access });
});

test('a token without a user has no name', async () => {
  const { tokens } = makeTokens();
  const { token } = await tokens.issue(undefined, []);
  expect(await tokens.verify(token)).toEqual({ kind: 'bearer', name: undefined, access: [] });
});

test('a token ends after five minutes, remembered or not', async () => {
  const { tokens, clock } = makeTokens();
  const { token } = await tokens.issue('alice', access);
  const { token: unseen } = await tokens.issue('bob', access);
  clock.advance(299_000);
  expect(await tokens.verify(token)).toBeDefined();
  clock.advance(1_000);
  expect(await tokens.verify(token)).toBeUndefined();
  expect(await tokens.verify(unseen)).toBeUndefined();
});

test('a token of another key, or one whose text was changed, is not valid', async () => {
  const { tokens } = makeTokens();
  const { token } = await makeTokens(randomBytes(32)).tokens.issue('alice', access);
  expect(await tokens.verify(token)).toBeUndefined();
  const own = (await tokens.issue('alice', access)).token;
  const [header, , signature] = own.split('.');
  const claims = encode({ ...goodClaims(makeManualClock().now()), sub: 'root' });
  expect(await tokens.verify(`${header}.${claims}.${signature}`)).toBeUndefined();
});

test('CVE-2026-22817: the algorithm is fixed, whatever the token says', async () => {
  const { tokens, clock } = makeTokens();
  const claims = goodClaims(clock.now());
  expect(await tokens.verify(forge({ alg: 'HS256', typ: 'JWT' }, claims))).toBeDefined();
  const unsigned = `${encode({ alg: 'none', typ: 'JWT' })}.${encode(claims)}.`;
  expect(await tokens.verify(unsigned)).toBeUndefined();
  expect(await tokens.verify(forge({ alg: 'none', typ: 'JWT' }, claims))).toBeUndefined();
  expect(await tokens.verify(forge({ alg: 'RS256', typ: 'JWT' }, claims))).toBeUndefined();
  expect(await tokens.verify(forge({ typ: 'JWT' }, claims))).toBeUndefined();
  expect(await tokens.verify(forge({ alg: 'HS384', typ: 'JWT' }, claims, key, 'sha384'))).toBeUndefined();
  expect(await tokens.verify(forge({ alg: 'HS512', typ: 'JWT' }, claims, key, 'sha512'))).toBeUndefined();
});

test.each([
  ['another issuer', { iss: 'elsewhere' }],
  ['another audience', { aud: 'elsewhere' }],
  ['no end', { exp: undefined }],
  ['no beginning', { iat: undefined }],
  ['no access', { access: undefined }],
])('a well-signed token with %s is not valid', async (_, changed) => {
  const { tokens, clock } = makeTokens();
  const token = forge({ alg: 'HS256', typ: 'JWT' }, { ...goodClaims(clock.now()), ...changed });
  expect(await tokens.verify(token)).toBeUndefined();
});

test('what an access claim says beyond pull, push and delete of repositories is dropped', async () => {
  const { tokens, clock } = makeTokens();
  const claims = [
    { type: 'repository', name: 'x', actions: ['pull', 'admin', '*', 7] },
    { type: 'registry', name: 'catalog', actions: ['*'] },
    null,
    'x',
    { type: 'repository', name: 7, actions: ['pull'] },
    { type: 'repository', name: 'y', actions: 'pull' },
  ];
  const token = forge({ alg: 'HS256', typ: 'JWT' }, { ...goodClaims(clock.now()), access: claims });
  expect(await tokens.verify(token)).toMatchObject({ access: [{ name: 'x', actions: ['pull'] }] });
});

test.each(['', 'x', '..', 'a.b.c', 'x'.repeat(10_000)])(
  'what is no token at all is not valid: %.20s',
  async (text) => {
    expect(await makeTokens().tokens.verify(text)).toBeUndefined();
  },
);

test('CVE-2023-27584: there is no key but the one that is given, of 32 bytes', () => {
  expect(() => makeTokens(new Uint8Array(31))).toThrow(TypeError);
  expect(() => makeTokens(new Uint8Array(0))).toThrow(TypeError);
});
