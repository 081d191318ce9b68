import { beforeAll, describe, expect, inject, test } from 'vitest';
import { hashPassword } from '../../src/policy/bcrypt-hash.ts';
import { basicOf, hubLogin } from './client.ts';
import type { ServerSettings } from './entrepot.ts';
import { privateRegistry } from './images.ts';
import { type Lab, openLab, upstreamLogin } from './lab.ts';
import type { ClientKey } from './roster.ts';
import { loginHost } from './sandbox.ts';

const { multi, secret } = inject('images');

const builder = { username: 'builder', password: 'builder-secret' };
const visitor = { username: 'visitor', password: 'visitor-secret' };
const noGrant = 'access: user visitor may not pull private.example/team/secret';

let settings: ServerSettings;

beforeAll(async () => {
  const [builderHash, visitorHash] = await Promise.all(
    [builder, visitor].map(({ password }) => hashPassword(password)),
  );
  const pulls = (images: string) => [{ images: [images], actions: ['pull'] }];
  settings = {
    access: {
      anonymous: pulls('docker.io/**'),
      users: {
        builder: { passwordHash: builderHash, grants: pulls(`${privateRegistry}/team/**`) },
        visitor: { passwordHash: visitorHash, grants: pulls(`${privateRegistry}/public/**`) },
      },
      loginHosts: [loginHost],
    },
  };
});

/** What a person reads of a private image: logged in to nothing, with a wrong password, without the grant. */
type Words = { readonly nobody: string; readonly wrong: string; readonly without: string };

const wrongLogin = 'unauthorized: incorrect username or password: check them and log in again';
const docker: Words = {
  nobody: "repository does not exist or may require 'docker login'",
  wrong: wrongLogin,
  without: `may require 'docker login': denied: ${noGrant}`,
};
const containerd: Words = {
  nobody: 'pull access denied, repository does not exist or may require authorization',
  wrong: '401 Unauthorized',
  without: '403 Forbidden',
};
const containers: Words = {
  nobody: 'requested access to the resource is denied',
  wrong: 'invalid username/password',
  without: `denied: ${noGrant}`,
};

const cases: [ClientKey, Words][] = [
  ['d20', docker],
  ['d28', docker],
  ['d28c', { ...docker, nobody: 'pull access denied', without: '403 Forbidden' }],
  ['build', { nobody: containerd.nobody, wrong: wrongLogin, without: '403 Forbidden' }],
  ['c16', containerd],
  ['c2', containerd],
  ['cri16', containerd],
  ['cri', containerd],
  ['podman', containers],
  ['skopeo', containers],
  [
    'crane',
    {
      nobody: 'UNAUTHORIZED: it takes a login to pull private.example/team/secret',
      wrong: 'UNAUTHORIZED: incorrect username or password',
      without: `DENIED: ${noGrant}`,
    },
  ],
];

/** These keep a password without trying it; it is refused when it is used. */
const untried: readonly ClientKey[] = ['c16', 'c2', 'cri16', 'cri', 'crane'];

/** These are not told of the server's authority by its own folder when they ask for a token, but by the system. */
const bySystem: readonly ClientKey[] = ['d28c', 'build'];

describe.concurrent('a private image, from a registry that wants a token', () => {
  test.for(cases)(
    'is given to who may have it, over HTTPS with a private authority (%s)',
    async ([key, words], context) => {
      const lab = await openLab(context, { tls: true, guarded: true, settings });
      const trusted = bySystem.includes(key) ? lab.tls?.authority.cert : undefined;
      const client = await lab.client(key, { trusted });
      const pull = () => client.pullByPrefix(secret.reference);

      const nobody = await pull();
      expect(nobody.ok).toBe(false);
      expect(nobody.said).toContain(words.nobody);

      const wrong = await client.login(builder.username, 'guessed');
      expect(wrong.ok).toBe(untried.includes(key));
      const refused = wrong.ok ? await pull() : wrong;
      expect(refused.ok).toBe(false);
      expect(refused.said).toContain(words.wrong);

      // BuildKit keeps a token until it ends, whoever has logged in since.
      const other = key === 'build' ? await lab.client(key, { trusted }) : client;
      expect(await other.login(visitor.username, visitor.password)).toMatchObject({ ok: true });
      const without = await other.pullByPrefix(secret.reference);
      expect(without.ok).toBe(false);
      expect(without.said).toContain(words.without);
      expect((await lab.guarded?.journal())?.requests).toEqual([]);

      expect(await client.login(builder.username, builder.password)).toMatchObject({ ok: true });
      const granted = await pull();
      expect(granted.ok, granted.said).toBe(true);
      if (key !== 'build') expect(granted.digests).toContain(secret.digest);
      await expectNoForeignLogins(lab);
    },
  );

  test.for<ClientKey>(['d20', 'd28', 'd28c', 'build', 'c16', 'c2', 'cri16', 'cri', 'podman'])(
    'has no part in how %s pulls public ones through the mirror, without being asked who it is',
    async (key, context) => {
      const lab = await openLab(context, { tls: true, guarded: true, settings });
      const client = await lab.client(key);
      // The others hold it in their files.
      if (untried.includes(key)) await client.login(hubLogin.username, hubLogin.password);
      const pulled = await client.pull(multi.reference);
      expect(pulled.ok, pulled.said).toBe(true);
      const statuses = lab.server.requests().map(({ status }) => status);
      expect([...new Set(statuses)]).toEqual([200]);
      await expectNoForeignLogins(lab);
    },
  );

  test.for<ClientKey>(['c16', 'c2', 'cri16', 'cri', 'podman'])(
    'is had by its own name when %s is configured with the login',
    async (key, context) => {
      const lab = await openLab(context, { tls: true, guarded: true, settings });
      const client = await lab.client(key, { mirrorLogin: builder });
      if (key === 'podman')
        expect(await client.login(builder.username, builder.password)).toHaveProperty('ok', true);
      const pulled = await client.pull(secret.reference);
      expect(pulled.ok, pulled.said).toBe(true);
      expect(pulled.digests).toContain(secret.digest);
      await expectNoForeignLogins(lab);
    },
  );
});

/** No upstream ever saw a login of a client: one saw none, the other that of the server and the tokens for it. */
async function expectNoForeignLogins({ dockerHub, guarded }: Lab): Promise<void> {
  const seen = async (upstream: Lab['guarded']) => {
    const { requests } = (await upstream?.journal()) ?? { requests: [] };
    return requests.filter(({ authorization }) => authorization !== undefined);
  };
  expect(await seen(dockerHub)).toEqual([]);
  // The registry lets no token pass but those that it gave for that login.
  const foreign = (await seen(guarded)).filter(({ authorization = '', status }) => {
    return (
      authorization !== basicOf(upstreamLogin) && !(authorization.startsWith('Bearer ') && status === 200)
    );
  });
  expect(foreign).toEqual([]);
}
