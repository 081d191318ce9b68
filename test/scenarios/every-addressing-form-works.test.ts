import { expect, test } from 'vitest';
import { mustGet } from '../helpers/cold-layer.ts';
import { startFakeUpstream } from '../helpers/fake-upstream.ts';
import { makeIndex } from '../helpers/image.ts';
import { type ClientKind, pull } from '../helpers/pull.ts';
import { outcome, request } from '../helpers/request.ts';
import { startProxy } from '../helpers/start-proxy.ts';

const index = makeIndex();

async function scene() {
  const [docker, ghcr] = [await startFakeUpstream(), await startFakeUpstream()];
  docker.add('library/alpine', index, '3');
  docker.add('org/app', index, '3');
  ghcr.add('org/app', makeIndex({ seed: 'ghcr' }), '3');
  const proxy = await startProxy({
    registries: { 'docker.io': docker, 'ghcr.io': { upstreams: [ghcr], hosts: ['ghcr.mirror.corp'] } },
  });
  return { docker, ghcr, proxy };
}

const forms = [
  // What the client names                    registry, repository that upstream is asked for, header echoed
  ['/v2/library/alpine', '', 'docker.io', 'library/alpine'],
  ['/v2/alpine', '', 'docker.io', 'library/alpine'],
  ['/v2/library/alpine', '?ns=docker.io', 'docker.io', 'library/alpine'],
  ['/v2/docker.io/library/alpine', '', 'docker.io', 'library/alpine'],
  ['/v2/docker.io/alpine', '', 'docker.io', 'library/alpine'],
  ['/docker.io/v2/library/alpine', '', 'docker.io', 'library/alpine'],
  ['/docker.io/v2/library/alpine', '?ns=docker.io', 'docker.io', 'library/alpine'],
  ['/v2/org/app', '', 'docker.io', 'org/app'],
  ['/v2/org/app', '?ns=ghcr.io', 'ghcr.io', 'org/app'],
  ['/v2/ghcr.io/org/app', '', 'ghcr.io', 'org/app'],
  ['/ghcr.io/v2/org/app', '', 'ghcr.io', 'org/app'],
  ['/v2/ghcr.io/org/app', '?ns=ghcr.io', 'ghcr.io', 'org/app'],
] as const;

test.each(forms)('%s with "%s" means %s/%s', async (base, query, registry, repository) => {
  const { docker, ghcr, proxy } = await scene();
  const answer = await mustGet(proxy.url, `${base}/manifests/3${query}`);
  const expected = registry === 'docker.io' ? index : makeIndex({ seed: 'ghcr' });
  expect(answer.digest).toBe(expected.manifest.digest);
  expect(answer.headers['oci-namespace']).toBe(query === '' ? undefined : registry);
  const [asked, other] = registry === 'docker.io' ? [docker, ghcr] : [ghcr, docker];
  expect(new Set(asked.journal.filter({ kind: 'manifest' }).map((entry) => entry.repository))).toEqual(
    new Set([repository]),
  );
  expect(other.journal.count()).toBe(0);
  // Upstream is never told of the client's way of naming.
  expect(asked.journal.entries.every((entry) => entry.query['ns'] === undefined)).toBe(true);
});

test('the prefix decides when it and ns disagree', async () => {
  const { docker, proxy } = await scene();
  const answer = await mustGet(proxy.url, '/v2/ghcr.io/org/app/manifests/3?ns=docker.io');
  expect(answer.digest).toBe(makeIndex({ seed: 'ghcr' }).manifest.digest);
  expect(docker.journal.count()).toBe(0);
});

test('a Host alias means its registry, in any case and with any port', async () => {
  const { docker, proxy } = await scene();
  for (const host of ['ghcr.mirror.corp', 'GHCR.mirror.corp:5000']) {
    const answer = await request(proxy.url, '/v2/org/app/manifests/3', { headers: { host } });
    expect(answer.digest).toBe(makeIndex({ seed: 'ghcr' }).manifest.digest);
  }
  expect(docker.journal.count()).toBe(0);
});

test('only docker.io has the library rule', async () => {
  const { ghcr, proxy } = await scene();
  ghcr.add('tool', index, '3');
  await mustGet(proxy.url, '/v2/ghcr.io/tool/manifests/3');
  expect(ghcr.journal.count({ repository: 'library/tool' })).toBe(0);
});

test('all forms of one name share one cache', async () => {
  const { docker, proxy } = await scene();
  await pull(proxy.url, { repository: 'alpine', reference: '3' });
  docker.journal.clear();
  await pull(proxy.url, {
    repository: 'library/alpine',
    reference: '3',
    ns: 'docker.io',
    client: 'containerd',
  });
  await pull(proxy.url, { repository: 'docker.io/library/alpine', reference: '3', client: 'podman' });
  await pull(proxy.url, { repository: 'library/alpine', reference: '3', base: '/docker.io' });
  expect(docker.journal.count()).toBe(0);
});

const clients: [ClientKind, object][] = [
  ['docker', { repository: 'library/alpine' }],
  ['docker', { repository: 'library/alpine', base: '/docker.io' }],
  ['docker', { repository: 'ghcr.io/org/app' }],
  ['containerd', { repository: 'org/app', ns: 'ghcr.io' }],
  ['containerd', { repository: 'ghcr.io/org/app', ns: 'ghcr.io' }],
  ['podman', { repository: 'docker.io/library/alpine' }],
];

test.each(clients)('a %s client pulls cold with %o', async (client, how) => {
  const { proxy } = await scene();
  const pulled = await pull(proxy.url, {
    repository: '',
    reference: '3',
    client,
    platform: 'linux/arm64',
    ...how,
  });
  expect(pulled.blobs.size).toBe(3);
});

test('the ping answers in the mirror path as well', async () => {
  const { proxy } = await scene();
  expect((await mustGet(proxy.url, '/docker.io/v2/')).text).toBe('{}');
  expect((await mustGet(proxy.url, '/v2')).text).toBe('{}');
  expect(outcome(await request(proxy.url, '/v2/_catalog'))).toMatch(/^404 /);
});

test('an upstream URL with a path is a repository prefix', async () => {
  const harbor = await startFakeUpstream();
  harbor.add('dockerhub/library/alpine', index, '3');
  const proxy = await startProxy({ registries: { 'docker.io': { url: `${harbor.url}/dockerhub` } } });
  expect((await pull(proxy.url, { repository: 'alpine', reference: '3' })).digest).toBe(
    index.manifest.digest,
  );
});
