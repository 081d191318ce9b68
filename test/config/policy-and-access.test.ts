import { generateKeyPairSync } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { localhostTls, otherTls } from '../upstream/tls-fixture.ts';
import { complaintsAbout, loadFrom } from './complaints.ts';

const hash = '$2b$10$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy';
const rule = (text: string) => `policy:\n  rules:\n    - images: "**"\n      action: allow\n      ${text}`;
const access = (text: string) => `access:\n  ${text}`;

describe('a rule', () => {
  test.each([
    [rule('tags: "[a"'), '5 policy.rules[0].tags: must be a glob of tags'],
    [rule('tags: [a, "/(/"]'), '5 policy.rules[0].tags[1]: this is no regular expression'],
    [
      rule('tags: []'),
      '5 policy.rules[0].tags: must be a glob or /regex/ or a list of them, none of them empty',
    ],
    [rule('tags: 3.10'), '5 policy.rules[0].tags: must be a glob or /regex/ or a list of them'],
    [rule('semver: latest'), '5 policy.rules[0].semver: must be a version range as npm writes them'],
    [rule('semver: 3.10'), '5 policy.rules[0].semver: must be a version range as npm writes them'],
    [rule('digests: abc'), '5 policy.rules[0].digests: must be a digest'],
    [rule('pin: "true"'), '5 policy.rules[0].pin: must be true or false, without quotes'],
    [rule('minAge: 3'), '5 policy.rules[0].minAge: must be a duration with a unit'],
    [rule('reasons: x'), '5 policy.rules[0].reasons: unknown key, did you mean "reason"?'],
    ['policy:\n  rules:\n    - {images: "*", action: deny}', '3 policy.rules[0].images: matches no image'],
    [
      'policy:\n  rules:\n    - images: ["**"]\n      action: deny\n      pin: true',
      '5 policy.rules[0].pin: has a meaning for action: allow only',
    ],
    [
      'policy:\n  rules:\n    - images: ["**"]\n      action: deny\n      minAge: 1d',
      '5 policy.rules[0].minAge: has a meaning for action: allow only',
    ],
    [
      'policy:\n  rules:\n    - images: [quay.io/a/b, library/python]\n      action: deny',
      '3 policy.rules[0].images[1]: begins with no registry',
    ],
    ['policy: {digests: all}', '1 policy.digests: must be one of provenance, allow, deny'],
    ['policy: {failClosed: 1}', '1 policy.failClosed: must be true or false, without quotes'],
  ])('%j is refused with its line and path', (yaml, expected) => {
    expect(complaintsAbout(yaml)).toEqual([expect.stringContaining(expected)]);
  });

  test('that denies may say that it does not pin', () => {
    const yaml = 'policy: {rules: [{images: "**", action: deny, pin: false}]}';
    expect(loadFrom(yaml).policy.rules).toEqual([{ images: ['**'], action: 'deny', pin: false }]);
  });

  test('may name a registry of one word that is configured', () => {
    const yaml = 'defaultRegistry: harbor\nregistries: {harbor: {upstreams: [{url: "https://harbor"}]}}\n';
    expect(loadFrom(`${yaml}${rule('reason: ours').replace('**', 'harbor/a/*')}`).policy.rules).toHaveLength(
      1,
    );
    expect(loadFrom(rule('reason: ours').replace('**', 'localhost/a/*')).policy.rules).toHaveLength(1);
  });

  test('is shown to who compiles it, whose objection has the line of the rule', () => {
    const yaml = `${rule('tags: "/(a)\\\\1/"')}\n    - {images: "**", action: deny}`;
    const ruleFault = ({ tags = [] }: { tags?: readonly string[] }) => {
      return tags.length > 0 ? 'cannot be used: backreferences are not supported' : undefined;
    };
    expect(complaintsAbout(yaml, {}, { ruleFault })).toEqual([
      '3 policy.rules[0]: cannot be used: backreferences are not supported',
    ]);
    expect(loadFrom(yaml, {}, { ruleFault: () => undefined }).policy.rules).toHaveLength(2);
  });
});

describe('a lockfile', () => {
  const yaml = 'policy:\n  lockfile: images.lock.yaml';

  test('that is missing is refused, unless it is about to be written', () => {
    expect(complaintsAbout(yaml)).toEqual([
      '2 policy.lockfile: cannot read this file, relative to FOLDER (ENOENT)',
    ]);
    expect(loadFrom(yaml, {}, { missingLockfile: 'empty' }).policy.lockfile).toEqual({
      path: expect.stringMatching(/^\/.*\/images\.lock\.yaml$/),
      images: {},
    });
  });

  test('with problems is refused with each of them', () => {
    const text = 'version: 1\nimages:\n  docker.io/library/a:\n    x: {digest: nope}\n    y: {}\n';
    const found = complaintsAbout(yaml, { 'images.lock.yaml': text }, { missingLockfile: 'empty' });
    expect(found).toEqual([
      expect.stringContaining(
        '2 policy.lockfile: line 4 of the file: images.docker.io/library/a.x.digest must be a digest',
      ),
      '2 policy.lockfile: line 5 of the file: images.docker.io/library/a.y.digest is required',
    ]);
  });
});

describe('access', () => {
  test.each([
    [access('anonymous: pull'), '2 access.anonymous: must be a list'],
    [access('anonymous: [pul]'), '2 access.anonymous[0]: must be one of pull, push, delete, admin, or a map'],
    [access('anonymous: [{images: "**"}]'), '2 access.anonymous[0].actions: is required'],
    [access('anonymous: [{images: "*", actions: pull}]'), '2 access.anonymous[0].images: matches no image'],
    [
      access('anonymous: [pull, {images: "**", actions: [pull, read]}]'),
      '2 access.anonymous[1].actions[1]: must be one of pull, push, delete, admin',
    ],
    [
      access('anonymous: [{images: "**", actions: []}]'),
      '2 access.anonymous[0].actions: must be one of pull, push, delete, admin, or a list of them',
    ],
    [
      access('anonymous: [{images: "**", action: pull, actions: pull}]'),
      '2 access.anonymous[0].action: unknown key, did you mean "actions"?',
    ],
    [
      access('htpasswdGrants: [{images: python/*, actions: pull}]\n  htpasswd: users'),
      '2 access.htpasswdGrants[0].images: begins with no registry',
    ],
    [access('htpasswdGrants: [pull]'), '2 access.htpasswdGrants: needs the key htpasswd beside it'],
    [
      access('anonymous: []'),
      '2 access.anonymous: is empty, and there are no users: nobody could do anything',
    ],
    [access('loginHosts: ["https://a.b"]'), '2 access.loginHosts[0]: must be a host such as registry.corp'],
    [access('loginHosts: [A.b]'), '2 access.loginHosts[0]: must be a host such as registry.corp'],
    [access('realm: https://a.b'), '2 access.realm: must be the whole URL of the token endpoint'],
    [access('realm: https://a.b/token?x=1'), '2 access.realm: must be the whole URL'],
    [access('realm: https://u:p@a.b/token'), '2 access.realm: must be the whole URL'],
    [access('realm: /token'), '2 access.realm: must be the whole URL'],
    [access('htpasswd: nope'), '2 access.htpasswd: cannot read this file, relative to FOLDER (ENOENT)'],
  ])('%j is refused with its line and path', (yaml, expected) => {
    const found = complaintsAbout(yaml, { users: `a:${hash}\n` });
    expect(found).toEqual([expect.stringContaining(expected)]);
  });

  test('without a login may be refused to all when there are users', () => {
    const users = `users: {a: {passwordHash: "${hash}", grants: [pull]}}`;
    expect(loadFrom(access(`anonymous: []\n  ${users}`)).access.anonymous).toEqual([]);
    expect(loadFrom(access('anonymous: []\n  passthrough: true')).access.anonymous).toEqual([]);
  });
});

describe('a user', () => {
  const user = (text: string) => access(`users:\n    ci:\n      ${text}`);
  const makeHash = 'make one with "entrepot hash-password"';
  const notBcrypt = `must be a bcrypt hash ($2b$...), never the password itself: ${makeHash}`;

  test.each([
    [
      user('grants: [pull]'),
      '3 access.users.ci: needs the key passwordHash, since there is no file access.htpasswd',
    ],
    [user(`passwordHash: "${hash}"`), '3 access.users.ci.grants: is required'],
    [
      user(`passwordHash: "${hash}"\n      grants: []`),
      '5 access.users.ci.grants: must list at least one grant',
    ],
    [user('passwordHash: hunter2\n      grants: [pull]'), `4 access.users.ci.passwordHash: ${notBcrypt}`],
    [
      user('passwordHash: "$apr1$abcdefgh$abcdefghijklmnopqrstuv"\n      grants: [pull]'),
      `4 access.users.ci.passwordHash: ${notBcrypt}`,
    ],
    [
      user(`passwordHash: "${hash.replace('$10$', '$20$')}"\n      grants: [pull]`),
      '4 access.users.ci.passwordHash: must be a bcrypt hash with a cost of 4 to 15',
    ],
    [
      user('password: hunter2\n      grants: [pull]'),
      '4 access.users.ci.password: a plain-text password is not accepted: give the passwordHash that "entrepot hash-password" prints',
    ],
    [
      user(`passwordHash: "${hash}"\n      grants: [root]`),
      '5 access.users.ci.grants[0]: must be one of pull, push',
    ],
  ])('%j is refused with its line and path', (yaml, expected) => {
    expect(complaintsAbout(yaml)).toEqual([expect.stringContaining(expected)]);
  });

  test.each(['a:b', '', 'a\\u0000b', '__proto__'])('cannot be named %j', (name) => {
    const yaml = access(`users:\n    "${name}": {passwordHash: "${hash}", grants: [pull]}`);
    expect(complaintsAbout(yaml)[0]).toContain('a user cannot be named so: no colon, no control characters');
  });

  test('may be named as every object has a name', () => {
    const yaml = access(`users: {constructor: {passwordHash: "${hash}", grants: [pull]}}`);
    const { users } = loadFrom(yaml).access;
    expect(users['constructor']).toMatchObject({ passwordHash: hash });
    expect(users['toString']).toBeUndefined();
  });

  test.each([
    [`a:${hash}\nb\n`, 2],
    [`# users\n\na:hunter2`, 3],
    [':$2y$05$', 1],
  ])('of a file %j needs a bcrypt hash', (text, line) => {
    expect(complaintsAbout(access('htpasswd: users'), { users: text })).toEqual([
      `2 access.htpasswd: line ${line} of the file is no USER:HASH with a bcrypt hash, as "htpasswd -B" writes it`,
    ]);
  });
});

describe('an upstream login', () => {
  const upstream = (text: string) => {
    return `registries:\n  docker.io:\n    upstreams:\n      - url: https://a.example\n        ${text}`;
  };
  const at = 'registries.docker.io.upstreams[0]';

  test.each([
    [
      upstream('dockerConfig: nope'),
      `5 ${at}.dockerConfig: cannot read this file, relative to FOLDER (ENOENT)`,
    ],
    [upstream('dockerConfig: list'), `5 ${at}.dockerConfig: the file holds no JSON object`],
    [upstream('dockerConfig: secret'), `5 ${at}.dockerConfig: the file holds no JSON object`],
    [
      upstream('credentialHelper: ../x'),
      `5 ${at}.credentialHelper: must be the NAME of docker-credential-NAME`,
    ],
    [upstream('credentialHelper: /bin/sh'), `5 ${at}.credentialHelper: must be the NAME`],
    [upstream('credentialHelper: -x'), `5 ${at}.credentialHelper: must be the NAME`],
    [
      upstream('credentialHelper: gcr\n        username: a\n        password: b'),
      `5 ${at}.credentialHelper: stands instead of username, not beside it`,
    ],
    [
      upstream('credentialHelper: gcr\n        dockerConfig: good'),
      `5 ${at}.credentialHelper: stands instead of dockerConfig, not beside it`,
    ],
    [
      upstream('dockerConfig: good\n        username: a\n        password: b'),
      `5 ${at}.dockerConfig: stands instead of username, not beside it`,
    ],
    [
      upstream('trustedRealms: ["https://a.b/token"]'),
      `5 ${at}.trustedRealms[0]: must be a host such as auth.corp`,
    ],
    [upstream('trustedRealms: ["ftp://a.b"]'), `5 ${at}.trustedRealms[0]: must be a host such as auth.corp`],
    [upstream('trustedRealms: ["*.b"]'), `5 ${at}.trustedRealms[0]: must be a host such as auth.corp`],
  ])('%j is refused with its line and path', (yaml, expected) => {
    const found = complaintsAbout(yaml, { list: '[]', secret: 'hunter2', good: '{"auths":{}}' });
    expect(found).toEqual([expect.stringContaining(expected)]);
  });
});

describe('the certificate of the server', () => {
  const files = {
    'a.pem': localhostTls.cert,
    'a.key': localhostTls.key,
    'b.key': otherTls.key,
    'broken.pem': localhostTls.cert.replace('MIIB', 'MIIC'),
    'locked.key': generateKeyPairSync('ec', {
      namedCurve: 'P-256',
      publicKeyEncoding: { type: 'spki', format: 'pem' },
      privateKeyEncoding: { type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase: 'hunter2' },
    }).privateKey,
  };
  const noKey = '3 tls.key: the file holds no PEM private key that is not encrypted';
  const noCertificate = '2 tls.cert: the file holds no PEM certificate that can be read';

  test.each([
    ['a.pem', 'b.key', ['3 tls.key: is not the key of the certificate in tls.cert']],
    ['a.key', 'a.key', [noCertificate]],
    ['broken.pem', 'a.key', [noCertificate]],
    ['a.pem', 'a.pem', [noKey]],
    ['a.pem', 'locked.key', [noKey]],
    ['nope', 'nope', ['2 tls.cert: cannot read', '3 tls.key: cannot read']],
  ])('%s and %s are refused', (cert, key, expected) => {
    const found = complaintsAbout(`tls:\n  cert: ${cert}\n  key: ${key}`, files);
    expect(found).toEqual(expected.map((text) => expect.stringContaining(text)));
  });

  test('needs both its keys', () => {
    expect(complaintsAbout('tls: {cert: a.pem}', files)).toEqual(['1 tls.key: is required']);
    expect(complaintsAbout('tls: {key: a.key}', files)).toEqual(['1 tls.cert: is required']);
  });

  test('is named by absolute paths', () => {
    const { tls } = loadFrom('tls: {cert: a.pem, key: a.key}', files);
    expect(tls).toEqual({
      certFile: expect.stringMatching(/^\/.*\/a\.pem$/),
      keyFile: expect.stringMatching(/^\/.*\/a\.key$/),
    });
  });
});
