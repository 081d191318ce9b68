import { describe, expect, it } from 'vitest';
import { Access, actionOf, type Grant } from '../../src/policy/access.ts';
import { blobPath, manifestPath, mustGet, settled } from '../helpers/cold-layer.ts';
import { startFakeUpstream } from '../helpers/fake-upstream.ts';
import { blobsOf, makeImage } from '../helpers/image.ts';
import { makeManualClock } from '../helpers/manual-clock.ts';
import { pull } from '../helpers/pull.ts';
import { outcome, request } from '../helpers/request.ts';
import { startProxy } from '../helpers/start-proxy.ts';
import { basic, pulling, usersWith } from './users.ts';

const image = makeImage();
const layer = image.layers[0]?.digest ?? '';

describe('CVE-2026-35172 (distribution): a blob is readable through a repository that does not hold it (any more)', () => {
  async function scene() {
    const upstream = await startFakeUpstream();
    upstream.add('org/holds-it', image, 'v1');
    upstream.add('org/deleted-it', makeImage({ seed: 'other' }), 'v1');
    const proxy = await startProxy({ registries: { 'ghcr.io': upstream } });
    await pull(proxy.url, { repository: 'org/holds-it', reference: 'v1' });
    for (const { digest } of blobsOf(image)) await settled(proxy, blobPath(digest, 'org/holds-it'));
    return { upstream, proxy };
  }

  it.each(['org/deleted-it', 'org/never-was'])(
    'nothing that is cached comes out through %s',
    async (name) => {
      const { proxy } = await scene();
      const paths = [
        ...blobsOf(image).map(({ digest }) => blobPath(digest, name)),
        manifestPath(image.manifest.digest, name),
      ];
      for (const path of paths) {
        expect((await request(proxy.url, path)).status, path).toBe(404);
        expect((await request(proxy.url, path, { method: 'HEAD' })).status, path).toBe(404);
        const part = await request(proxy.url, path, { headers: { range: 'bytes=0-0' } });
        expect(part.status, path).toBe(404);
        const known = await request(proxy.url, path, { headers: { 'if-none-match': `"${layer}"` } });
        expect(known.status, path).toBe(404);
      }
    },
  );

  it('a restart does not forget who may read what', async () => {
    const { proxy } = await scene();
    await proxy.restart();
    expect(outcome(await request(proxy.url, blobPath(layer, 'org/deleted-it')))).toBe('404 BLOB_UNKNOWN');
    expect((await mustGet(proxy.url, blobPath(layer, 'org/holds-it'))).headers['x-cache']).toBe('hit');
  });
});

describe('CVE-2024-39897 (zot): whoever may read one repository takes any blob by its digest', () => {
  async function scene() {
    const upstream = await startFakeUpstream();
    upstream.add('team-a/app', image, 'v1');
    upstream.add('team-b/app', makeImage({ seed: 'other' }), 'v1');
    const proxy = await startProxy({
      registries: { 'ghcr.io': upstream },
      access: usersWith({ ann: pulling('ghcr.io/team-a/**'), bob: pulling('ghcr.io/team-b/**') }),
    });
    const headers = basic('ann');
    await pull(proxy.url, { repository: 'ghcr.io/team-a/app', reference: 'v1', headers });
    return { upstream, proxy };
  }

  it('a reader of another repository does not get it, by blob, manifest, part or mount', async () => {
    const { proxy } = await scene();
    const headers = basic('bob');
    await pull(proxy.url, { repository: 'ghcr.io/team-b/app', reference: 'v1', headers });
    const own = 'ghcr.io/team-b/app';
    for (const path of [blobPath(layer, own), manifestPath(image.manifest.digest, own)]) {
      expect((await request(proxy.url, path, { headers })).status).toBe(404);
      const part = await request(proxy.url, path, { headers: { ...headers, range: 'bytes=0-9' } });
      expect(part.status).toBe(404);
    }
    const mount = `/v2/${own}/blobs/uploads/?mount=${layer}&from=team-a/app`;
    const mounted = await request(proxy.url, mount, { method: 'POST', headers });
    expect(mounted.status).toBeGreaterThanOrEqual(400);
    expect((await request(proxy.url, blobPath(layer, own), { headers })).status).toBe(404);
  });

  it('a reader of another repository is refused at the one that holds it, however it is addressed', async () => {
    const { proxy } = await scene();
    const headers = basic('bob');
    const paths = (base: string, query: string, name: string) => [
      `${base}${manifestPath('v1', name)}${query}`,
      `${base}${manifestPath(image.manifest.digest, name)}${query}`,
      `${base}${blobPath(layer, name)}${query}`,
      `${base}/v2/${name}/tags/list${query}`,
      `${base}/v2/${name}/referrers/${image.manifest.digest}${query}`,
    ];
    const forms = [
      ...paths('', '', 'ghcr.io/team-a/app'),
      ...paths('', '', 'team-a/app'),
      ...paths('', '?ns=ghcr.io', 'team-a/app'),
      ...paths('', '?ns=ghcr.io', 'ghcr.io/team-a/app'),
      ...paths('/ghcr.io', '', 'team-a/app'),
    ];
    for (const path of forms) {
      for (const credentials of [headers, {}]) {
        const answer = await request(proxy.url, path, { headers: credentials });
        expect(answer.status, path).toBeGreaterThanOrEqual(401);
        expect(answer.status, path).toBeLessThanOrEqual(404);
      }
      expect((await request(proxy.url, path, { headers: basic('ann') })).status, path).toBe(200);
    }
  });
});

describe('CVE-2026-31801 (zot): the tag latest is exempted from a check', () => {
  const tags = ['latest', 'LATEST', 'main', 'stable', 'v2'];

  it('a rule about tags is about latest too, and about whatever else is not allowed', async () => {
    const upstream = await startFakeUpstream();
    const other = makeImage({ seed: 'other' });
    upstream.add('org/app', image, 'v1');
    upstream.add('org/app', other, ...tags, `sha256-${other.manifest.digest.slice(7)}`);
    const policy = {
      default: 'deny' as const,
      rules: [{ images: ['**'], tags: ['v1'], action: 'allow' as const }],
    };
    const proxy = await startProxy({ registries: { 'ghcr.io': upstream }, policy });
    await mustGet(proxy.url, manifestPath('v1'));
    for (const tag of [...tags, `sha256-${other.manifest.digest.slice(7)}`]) {
      expect(outcome(await request(proxy.url, manifestPath(tag))), tag).toBe('403 DENIED');
    }
    const listed = await mustGet(proxy.url, '/v2/org/app/tags/list');
    for (const tag of tags) expect(JSON.parse(listed.text).tags).not.toContain(tag);
  });

  it('a grant is not widened by it either', async () => {
    const upstream = await startFakeUpstream();
    upstream.add('team-a/app', image, 'v1', 'latest');
    const proxy = await startProxy({
      registries: { 'ghcr.io': upstream },
      access: usersWith({ bob: pulling('ghcr.io/team-b/**') }),
    });
    for (const tag of ['latest', 'v1']) {
      expect((await request(proxy.url, manifestPath(tag, 'team-a/app'))).status).toBe(404);
      expect((await request(proxy.url, manifestPath(tag, 'ghcr.io/team-a/app'))).status).toBe(401);
    }
  });

  it('it is confirmed upstream when its time is up, as every tag', async () => {
    const upstream = await startFakeUpstream();
    const clock = makeManualClock();
    upstream.add('org/app', image, 'v1', 'latest');
    const proxy = await startProxy({ registries: { 'ghcr.io': upstream }, clock });
    for (const tag of ['v1', 'latest']) await mustGet(proxy.url, manifestPath(tag));
    upstream.script({ match: { kind: 'manifest' }, status: 403 });
    clock.advance(400_000);
    for (const tag of ['v1', 'latest']) {
      expect(outcome(await request(proxy.url, manifestPath(tag)))).toBe('403 DENIED');
    }
  });
});

describe('CVE-2026-61833 (zot): every method but GET counts as push, so that who may push may delete', () => {
  it('each method is an action of its own, and one that is not in the table is none', () => {
    const table = [
      'GET',
      'HEAD',
      'POST',
      'PUT',
      'PATCH',
      'DELETE',
      'OPTIONS',
      'TRACE',
      'PROPFIND',
      'get',
      '',
    ];
    expect(table.map((method) => [method, actionOf(method)])).toEqual([
      ['GET', 'pull'],
      ['HEAD', 'pull'],
      ['POST', 'push'],
      ['PUT', 'push'],
      ['PATCH', 'push'],
      ['DELETE', 'delete'],
      ['OPTIONS', undefined],
      ['TRACE', undefined],
      ['PROPFIND', undefined],
      ['get', undefined],
      ['', undefined],
    ]);
  });

  it('a token and a grant to push do not delete, and one to delete does not push', () => {
    const grants = [{ images: ['**'], actions: ['push'] as const }];
    const all = [{ images: ['**'], actions: ['pull', 'push', 'delete'] as const }];
    const users = new Map<string, readonly Grant[]>([
      ['pusher', grants],
      ['owner', all],
    ]);
    const access = new Access({ anonymous: [], users });
    const user = { kind: 'user', name: 'pusher' } as const;
    expect(access.allows(user, 'push', 'ghcr.io/a')).toBe(true);
    expect(access.allows(user, 'delete', 'ghcr.io/a')).toBe(false);
    expect(access.allows(user, 'admin', 'ghcr.io/a')).toBe(false);
    const token = {
      kind: 'bearer',
      name: 'owner',
      access: [{ name: 'ghcr.io/a', actions: ['pull', 'push'] }],
    } as const;
    expect(access.judge(token, 'push', 'ghcr.io/a')).toBe('allowed');
    expect(access.judge(token, 'delete', 'ghcr.io/a')).toBe('outside-token');
  });

  it('a method that the server does not know is no pull', async () => {
    const upstream = await startFakeUpstream();
    upstream.add('org/app', image, 'v1');
    const proxy = await startProxy({ registries: { 'ghcr.io': upstream } });
    for (const method of ['DELETE', 'OPTIONS', 'TRACE', 'PROPFIND', 'PURGE', 'COPY', 'MOVE', 'QUERY']) {
      const answer = await request(proxy.url, manifestPath('v1'), { method });
      expect([method, outcome(answer)]).toEqual([method, '405 UNSUPPORTED']);
    }
    await mustGet(proxy.url, manifestPath('v1'));
  });
});
