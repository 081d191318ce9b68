import { expect, test } from 'vitest';
import { blobPath, manifestPath, mustGet, repository, warm } from '../helpers/cold-layer.ts';
import { startFakeUpstream } from '../helpers/fake-upstream.ts';
import { makeImage } from '../helpers/image.ts';
import { type Answer, request } from '../helpers/request.ts';
import { startProxy } from '../helpers/start-proxy.ts';

// Caches in front of this server, and clients, keep what these headers let them keep.

const image = makeImage();
const { digest } = image.manifest;
const layer = image.layers[0]?.digest ?? '';
const forEver = 'max-age=31536000, immutable';
const podman = { 'user-agent': 'containers/5.28.2 (github.com/containers/image)' };

async function scene(failClosed = false) {
  const upstream = await startFakeUpstream();
  upstream.add(repository, image, 'v1');
  const proxy = await startProxy({
    registries: { 'ghcr.io': upstream },
    policy: { rules: [{ images: ['**'], tags: ['latest'], action: 'deny' }], failClosed },
  });
  return { upstream, proxy };
}

/** What a cache goes by. */
function keeping({ status, headers }: Answer) {
  return {
    status,
    cacheControl: headers['cache-control'],
    etag: headers.etag,
    digest: headers['docker-content-digest'],
  };
}

test('a manifest by tag is to be asked for again each time, cold, warm, by HEAD and where it has not changed', async () => {
  const { proxy } = await scene();
  const expected = { cacheControl: 'no-cache', etag: `"${digest}"`, digest };
  const path = manifestPath('v1');
  for (const method of ['HEAD', 'GET', 'GET', 'HEAD']) {
    expect(keeping(await request(proxy.url, path, { method }))).toEqual({ status: 200, ...expected });
  }
  const headers = { 'if-none-match': `"${digest}"` };
  expect(keeping(await request(proxy.url, path, { headers }))).toEqual({ status: 304, ...expected });
});

test('a manifest by tag that is stale is to be asked for again as well', async () => {
  const upstream = await startFakeUpstream();
  upstream.add(repository, image, 'v1');
  const registry = { upstreams: [upstream], tagTtl: 0, negativeTtl: 0 };
  const proxy = await startProxy({ registries: { 'ghcr.io': registry } });
  await mustGet(proxy.url, manifestPath('v1'));
  await upstream.refuse();
  const answer = await mustGet(proxy.url, manifestPath('v1'));
  expect(answer.headers['x-cache']).toBe('stale');
  expect(keeping(answer)).toMatchObject({ cacheControl: 'no-cache', etag: `"${digest}"`, digest });
});

test('a manifest by digest never changes, cold, warm, by HEAD and where a client has it', async () => {
  const { proxy } = await scene();
  const expected = { cacheControl: forEver, etag: `"${digest}"`, digest };
  const path = manifestPath(digest);
  await mustGet(proxy.url, manifestPath('v1'));
  for (const method of ['HEAD', 'GET', 'GET']) {
    expect(keeping(await request(proxy.url, path, { method }))).toEqual({ status: 200, ...expected });
  }
  const headers = { 'if-none-match': `"${digest}"` };
  expect(keeping(await request(proxy.url, path, { headers }))).toEqual({ status: 304, ...expected });
});

test('a blob never changes: whole, in ranges, by HEAD and where a client has it', async () => {
  const { proxy } = await scene();
  const expected = { cacheControl: forEver, etag: `"${layer}"`, digest: layer };
  const path = blobPath(layer);
  await mustGet(proxy.url, manifestPath('v1'));
  const ask = async (method: string, headers: Record<string, string> = {}) =>
    keeping(await request(proxy.url, path, { method, headers }));
  expect(await ask('GET')).toEqual({ status: 200, ...expected });
  await warm(proxy, path);
  expect(await ask('GET')).toEqual({ status: 200, ...expected });
  expect(await ask('HEAD')).toEqual({ status: 200, ...expected });
  expect(await ask('GET', { range: 'bytes=0-9' })).toEqual({ status: 206, ...expected });
  expect(await ask('GET', { range: 'bytes=0-1,4-5' })).toEqual({ status: 206, ...expected });
  expect(await ask('GET', { 'if-none-match': `"${layer}"` })).toEqual({ status: 304, ...expected });
});

test('a list changes, and is no content that has a digest', async () => {
  const { proxy } = await scene();
  await mustGet(proxy.url, manifestPath('v1'));
  const expected = { status: 200, cacheControl: 'no-cache', etag: undefined, digest: undefined };
  for (const path of [`/v2/${repository}/tags/list`, `/v2/${repository}/referrers/${digest}`]) {
    for (const method of ['GET', 'HEAD']) {
      expect(keeping(await request(proxy.url, path, { method })), path).toEqual(expected);
    }
  }
});

test('an error is not kept, and names no content', async () => {
  const { upstream, proxy } = await scene();
  const absent = `sha256:${'a'.repeat(64)}`;
  const cases = [
    [404, manifestPath('nothing')],
    [403, manifestPath(absent)],
    [403, manifestPath('latest')],
    [403, blobPath(layer)],
    [404, `/v2/${repository}/nothing`],
    [400, `/v2/${repository}/tags/list?n=x`],
    [404, '/v2/quay.io/org/app/manifests/v1'],
  ] as const;
  const expected = { cacheControl: 'no-store', etag: undefined, digest: undefined };
  const check = async (status: number, path: string) => {
    for (const method of ['GET', 'HEAD']) {
      const answer = keeping(await request(proxy.url, path, { method }));
      expect(answer, path).toEqual({ status, ...expected });
    }
  };
  for (const [status, path] of cases) await check(status, path);
  await mustGet(proxy.url, manifestPath('v1'));
  await warm(proxy, blobPath(layer));
  const beyond = { headers: { range: 'bytes=999999999-' } };
  const unsatisfiable = await request(proxy.url, blobPath(layer), beyond);
  expect(keeping(unsatisfiable)).toEqual({ status: 416, ...expected });
  await upstream.refuse();
  await check(503, manifestPath('v2'));
  await check(503, `/v2/${repository}/tags/list`);
});

test('what stands in for a denied image is not kept, and has no entity tag to ask by', async () => {
  const { proxy } = await scene(true);
  for (const method of ['HEAD', 'GET']) {
    const answer = await request(proxy.url, manifestPath('latest'), { method, headers: podman });
    const told = String(answer.headers['docker-content-digest']);
    expect(keeping(answer)).toEqual({
      status: 200,
      cacheControl: 'no-store',
      etag: undefined,
      digest: told,
    });
    expect(keeping(await request(proxy.url, manifestPath(told), { method }))).toMatchObject({
      status: 200,
      cacheControl: 'no-store',
      etag: undefined,
    });
  }
});
