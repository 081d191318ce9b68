import { describe, expect, it } from 'vitest';
import { blobPath, manifestPath, mustGet, repository, settled } from '../helpers/cold-layer.ts';
import { startFakeUpstream } from '../helpers/fake-upstream.ts';
import { makeImage } from '../helpers/image.ts';
import { makeManualClock } from '../helpers/manual-clock.ts';
import { pull } from '../helpers/pull.ts';
import { outcome, request } from '../helpers/request.ts';
import { startProxy } from '../helpers/start-proxy.ts';
import { httpServer } from '../upstream/loopback.ts';
import { basic, pulling, usersWith } from './users.ts';

const image = makeImage();
const other = makeImage({ seed: 'other' });
const layer = image.layers[0]?.digest ?? '';

describe('hazard (docker-registry-proxy): a cache key without the host, and one client’s private image for all', () => {
  it('the same path at two registries is two images, warm or cold', async () => {
    const [docker, ghcr] = [await startFakeUpstream(), await startFakeUpstream()];
    docker.add(repository, image, 'v1');
    ghcr.add(repository, other, 'v1');
    const proxy = await startProxy({ registries: { 'docker.io': docker, 'ghcr.io': ghcr } });
    for (const _ of ['cold', 'warm', 'warm']) {
      for (const [ns, wanted] of [
        ['docker.io', image],
        ['ghcr.io', other],
      ] as const) {
        const pulled = await pull(proxy.url, { repository, reference: 'v1', ns });
        expect(pulled.digest).toBe(wanted.manifest.digest);
      }
    }
    expect(outcome(await request(proxy.url, `${blobPath(layer)}?ns=ghcr.io`))).toBe('404 BLOB_UNKNOWN');
  });

  it('what was fetched for one user is on disk once, and served to those alone who may have it', async () => {
    const upstream = await startFakeUpstream();
    upstream.add('team-a/app', image, 'v1');
    const proxy = await startProxy({
      registries: { 'ghcr.io': upstream },
      access: usersWith({ ann: pulling('ghcr.io/team-a/**'), amy: pulling('ghcr.io/team-a/**'), bob: [] }),
    });
    const name = 'ghcr.io/team-a/app';
    await pull(proxy.url, { repository: name, reference: 'v1', headers: basic('ann') });
    await pull(proxy.url, { repository: name, reference: 'v1', headers: basic('amy') });
    expect(upstream.journal.count({ method: 'GET', kind: 'blob', reference: layer })).toBe(1);
    const told = async (headers: object, path: string) => {
      return outcome(await request(proxy.url, path, { headers: { ...headers } }));
    };
    for (const path of [manifestPath('v1', name), blobPath(layer, name)]) {
      expect(await told({}, path)).toBe('401 UNAUTHORIZED');
      expect(await told(basic('bob'), path)).toBe('403 DENIED');
      expect(await told(basic('amy'), path)).toBe('200');
    }
    expect(await told({}, `${blobPath(layer, 'team-a/app')}?ns=ghcr.io`)).toBe('404 NAME_UNKNOWN');
  });
});

describe('hazard (dfdaemon, mcronce/oci-registry): the client’s ns is the host that is dialled', () => {
  it('ns, mirror paths, prefixes and Host are looked up in the configuration', async () => {
    const internal = await httpServer((_request, response) => response.end('internal'));
    const upstream = await startFakeUpstream();
    upstream.add(repository, image, 'v1');
    const proxy = await startProxy({ registries: { 'ghcr.io': upstream } });
    const { host } = internal;
    const paths = [
      `${manifestPath('v1')}?ns=${host}`,
      `${manifestPath('v1')}?ns=http://${host}`,
      `${manifestPath('v1')}?ns=ghcr.io@${host}`,
      `${manifestPath('v1')}?ns=${encodeURIComponent(`${host}/#ghcr.io`)}`,
      `/${host}${manifestPath('v1')}`,
      manifestPath('v1', `${host}/${repository}`),
      `http://${host}${manifestPath('v9')}`,
    ];
    for (const path of paths) {
      const answer = await request(proxy.url, path);
      expect(answer.status, path).toBe(404);
    }
    const headers = { host, 'x-forwarded-host': host, forwarded: `host=${host}` };
    await request(proxy.url, manifestPath('v8'), { headers });
    expect(internal.journal).toHaveLength(0);
  });
});

describe('hazard (NORA, zot): an unqualified name is tried on each upstream', () => {
  it('a name is asked of its registry alone, and not of the next when it is absent, denied or down there', async () => {
    const [docker, ghcr] = [await startFakeUpstream(), await startFakeUpstream()];
    ghcr.add('org/only-there', image, 'v1');
    const clock = makeManualClock();
    const proxy = await startProxy({ registries: { 'docker.io': docker, 'ghcr.io': ghcr }, clock });
    const paths = [
      manifestPath('v1', 'org/only-there'),
      manifestPath(image.manifest.digest, 'org/only-there'),
      blobPath(layer, 'org/only-there'),
      '/v2/org/only-there/tags/list',
    ];
    for (const fault of [{}, { status: 403 }, { status: 503 }, { reset: true }]) {
      docker.heal();
      if (Object.keys(fault).length > 0) docker.script(fault);
      for (const path of paths) {
        clock.advance(60_000);
        expect((await request(proxy.url, path)).status, path).toBeGreaterThanOrEqual(400);
      }
    }
    expect(ghcr.journal.count()).toBe(0);
  });

  it('an upstream that is not trusted with tags is not asked what a tag means', async () => {
    const [origin, mirror] = [await startFakeUpstream(), await startFakeUpstream()];
    origin.add(repository, image, 'v1');
    mirror.add(repository, other, 'v1', 'v2');
    const proxy = await startProxy({ registries: { 'ghcr.io': [{ url: mirror.url, tags: false }, origin] } });
    expect((await mustGet(proxy.url, manifestPath('v1'))).digest).toBe(image.manifest.digest);
    expect(outcome(await request(proxy.url, manifestPath('v2')))).toBe('404 MANIFEST_UNKNOWN');
    expect(mirror.journal.count({ kind: 'manifest', reference: 'v1' })).toBe(0);
    expect(mirror.journal.count({ kind: 'manifest', reference: 'v2' })).toBe(0);
  });
});

describe('hazard (distribution): a tag that was revoked or deleted upstream is served from the cache for ever', () => {
  async function scene() {
    const upstream = await startFakeUpstream();
    upstream.add(repository, image, 'v1');
    const clock = makeManualClock();
    const proxy = await startProxy({ registries: { 'ghcr.io': upstream }, clock });
    await pull(proxy.url, { repository, reference: 'v1' });
    await settled(proxy, blobPath(layer));
    clock.advance(400_000);
    return { upstream, proxy, clock };
  }
  const ask = async (proxy: { url: string }) => request(proxy.url, manifestPath('v1'));

  it('down: the cached tag, which says that it is stale', async () => {
    const { upstream, proxy } = await scene();
    await upstream.refuse();
    const answer = await ask(proxy);
    expect([answer.status, answer.headers['x-cache']]).toEqual([200, 'stale']);
  });

  it.each([401, 403])('denied (%i): refused, again and again', async (status) => {
    const { upstream, proxy, clock } = await scene();
    upstream.script({ match: { kind: 'manifest' }, status });
    for (const _ of [1, 2, 3]) {
      expect(outcome(await ask(proxy))).toBe('403 DENIED');
      clock.advance(60_000);
    }
  });

  it('gone: gone, also when the upstream is down afterwards', async () => {
    const { upstream, proxy, clock } = await scene();
    upstream.content.deleteTag(repository, 'v1');
    expect(outcome(await ask(proxy))).toBe('404 MANIFEST_UNKNOWN');
    await upstream.refuse();
    clock.advance(60_000);
    expect((await ask(proxy)).status).toBe(503);
    await proxy.restart();
    expect((await ask(proxy)).status).toBe(503);
  });
});

describe('hazard (zot): the first fetch fails, and those who waited for it get nothing or nil', () => {
  const waiters = 12;
  const failures: [string, object][] = [
    ['resets', { reset: true }],
    ['answers 500', { status: 500 }],
    ['answers 403', { status: 403 }],
    ['answers 404', { status: 404 }],
  ];

  it.each(failures)('all who wait for a manifest are told when it %s', async (_, fault) => {
    const upstream = await startFakeUpstream();
    upstream.add(repository, image, 'v1');
    const clock = makeManualClock();
    const proxy = await startProxy({ registries: { 'ghcr.io': upstream }, clock });
    const held = upstream.script({ match: { kind: 'manifest' }, hold: true, ...fault });
    const path = manifestPath(image.manifest.digest);
    const asking = Array.from({ length: waiters }, () => request(proxy.url, path));
    await held.reached();
    held.release();
    const told = (await Promise.all(asking)).map(outcome);
    expect(new Set(told).size).toBe(1);
    expect(told[0]).toMatch(/^(?:403 DENIED|404 MANIFEST_UNKNOWN|503 UNAVAILABLE)$/);
    upstream.heal();
    clock.advance(60_000);
    await mustGet(proxy.url, path);
  });

  it.each([...failures, ['sends wrong bytes', { corruptAt: 100 }] as [string, object]])(
    'all who wait for a blob are told when it %s',
    async (_, fault) => {
      const upstream = await startFakeUpstream();
      upstream.add(repository, image, 'v1');
      const clock = makeManualClock();
      const proxy = await startProxy({ registries: { 'ghcr.io': upstream }, clock, allowFills: true });
      await mustGet(proxy.url, manifestPath('v1'));
      const held = upstream.script({ match: { kind: 'blob' }, hold: true, ...fault });
      const asking = Array.from({ length: waiters }, () => {
        return request(proxy.url, blobPath(layer)).catch(() => 'cut' as const);
      });
      await held.reached();
      held.release();
      for (const answer of await Promise.all(asking)) {
        // Told by an error, or by a connection that breaks off: never by a whole body.
        if (answer !== 'cut' && answer.status === 200) expect(answer.complete).toBe(false);
        else if (answer !== 'cut') expect(outcome(answer)).toMatch(/^(?:403|404|503) /);
      }
      upstream.heal();
      clock.advance(3_600_000);
      expect((await mustGet(proxy.url, blobPath(layer))).digest).toBe(layer);
      await settled(proxy, blobPath(layer));
    },
  );
});
