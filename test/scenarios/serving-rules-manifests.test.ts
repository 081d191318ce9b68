import { expect, test, vi } from 'vitest';
import { mediaTypes } from '../../src/oci/media-types.ts';
import { manifestPath, mustGet, repository } from '../helpers/cold-layer.ts';
import { download } from '../helpers/download.ts';
import { startFakeUpstream } from '../helpers/fake-upstream.ts';
import { makeImage, makeIndex, manifestOf } from '../helpers/image.ts';
import { patience } from '../helpers/patience.ts';
import type { ConfigOptions } from '../helpers/proxy-config.ts';
import { type Answer, ociError, outcome, request } from '../helpers/request.ts';
import { startProxy } from '../helpers/start-proxy.ts';

// The rules under "Serving" and "Errors" that real clients were measured to depend on.

const image = makeImage();

async function scene(options: ConfigOptions = {}) {
  const upstream = await startFakeUpstream();
  upstream.add(repository, image, 'v1');
  const proxy = await startProxy({ registries: { 'ghcr.io': upstream }, ...options });
  return { upstream, proxy };
}

/** The headers that describe the content: those that HEAD and GET must agree on. */
function described({ headers }: Answer): Record<string, unknown> {
  const { date: _date, connection: _connection, 'x-cache': _cache, 'keep-alive': _alive, ...rest } = headers;
  // Who was asked and how long it took depend on the moment, as the cache outcome does.
  delete rest['x-upstream'];
  delete rest['server-timing'];
  return rest;
}

test('/v2/ answers 200 {} at once with the upstream dead, without a challenge', async () => {
  const { upstream, proxy } = await scene();
  await upstream.refuse();
  for (const method of ['GET', 'HEAD']) {
    const answer = await request(proxy.url, '/v2/', { method });
    expect(answer.status).toBe(200);
    expect(answer.text).toBe(method === 'GET' ? '{}' : '');
    expect(answer.headers['content-type']).toBe('application/json');
    expect(answer.headers['content-length']).toBe('2');
    expect(answer.headers['docker-distribution-api-version']).toBe('registry/2.0');
    expect(answer.headers['www-authenticate']).toBeUndefined();
  }
  expect(upstream.journal.count()).toBe(0);
});

const kinds = [
  ['an OCI manifest', makeImage(), mediaTypes.ociManifest],
  ['an OCI index', makeIndex(), mediaTypes.ociIndex],
  ['a Docker manifest', makeImage({ format: 'docker' }), mediaTypes.dockerManifest],
  ['a Docker manifest list', makeIndex({ format: 'docker' }), mediaTypes.dockerList],
] as const;

test.each(kinds)(
  '%s carries its exact type, length and digest on HEAD and GET, cold and warm',
  async (_, content, type) => {
    const { upstream, proxy } = await scene();
    upstream.add(repository, content, 'kind');
    const { digest, bytes } = content.manifest;
    const head = await request(proxy.url, manifestPath('kind'), { method: 'HEAD' });
    for (const reference of ['kind', digest, 'kind']) {
      const get = await mustGet(proxy.url, manifestPath(reference));
      expect(get.body.equals(bytes)).toBe(true);
      expect(get.headers['content-type']).toBe(type);
      expect(get.headers['content-length']).toBe(String(bytes.length));
      expect(get.headers['docker-content-digest']).toBe(digest);
    }
    expect(head).toMatchObject({ status: 200, length: 0 });
    expect(described(head)).toEqual(described(await mustGet(proxy.url, manifestPath('kind'))));
  },
);

test('Accept is never turned into a 406 or a conversion, whatever its order', async () => {
  const { proxy } = await scene();
  for (const accept of [
    undefined,
    '*/*',
    'application/json',
    mediaTypes.dockerManifest,
    'text/html;q=0.1',
    '',
  ]) {
    const headers = accept === undefined ? {} : { accept };
    const answer = await request(proxy.url, manifestPath('v1'), { headers });
    expect(answer).toMatchObject({ status: 200, digest: image.manifest.digest });
    expect(answer.headers['content-type']).toBe(mediaTypes.ociManifest);
  }
});

test('upstream is asked for all four manifest types, whatever the client accepts', async () => {
  const { upstream, proxy } = await scene();
  await request(proxy.url, manifestPath('v1'), { headers: { accept: mediaTypes.dockerManifest } });
  const accept = String(upstream.journal.filter({ kind: 'manifest' })[0]?.headers.accept);
  for (const type of Object.values(mediaTypes)) expect(accept).toContain(type);
  expect(accept).not.toContain('v1+prettyjws');
});

test('a client that takes nothing of a manifest is dropped after the write-stall timeout', async () => {
  const { upstream, proxy } = await scene({
    limits: { manifestSize: 24 * 1024 * 1024 },
    server: { writeStallTimeout: 200 },
  });
  const annotations = { filling: 'x'.repeat(16 * 1024 * 1024) };
  const document = { ...JSON.parse(image.manifest.bytes.toString()), annotations };
  const long = manifestOf(document, mediaTypes.ociManifest);
  upstream.content.addManifest(repository, long, 'long');
  expect((await mustGet(proxy.url, manifestPath('long'))).digest).toBe(long.digest);
  const idle = download(proxy.url, manifestPath('long'), long.bytes, { reading: false });
  const dropped = () => proxy.logs.lines.find(({ fields }) => fields['aborted'] === true);
  await vi.waitUntil(dropped, { timeout: patience, interval: 5 });
  expect(dropped()?.fields).toMatchObject({ because: 'the client took no bytes for 200ms' });
  idle.read();
  expect(await idle.ended).toBe('cut');
});

test.each([['abc'], ['-1'], ['1.5']])(
  'a page of %s tags is a bad request, told as registries tell it',
  async (n) => {
    const { upstream, proxy } = await scene();
    for (const method of ['GET', 'HEAD']) {
      const answer = await request(proxy.url, `/v2/${repository}/tags/list?n=${n}`, { method });
      expect(answer.status).toBe(400);
      if (method === 'GET') expect(ociError(answer).code).toBe('PAGINATION_NUMBER_INVALID');
      expect(answer.headers).not.toHaveProperty('allow');
    }
    expect(upstream.journal.count()).toBe(0);
  },
);

test('Docker schema 1 is refused as what is not here, and the method is not blamed', async () => {
  const { upstream, proxy } = await scene();
  const type = 'application/vnd.docker.distribution.manifest.v1+prettyjws';
  upstream.content.addManifest(repository, manifestOf({ schemaVersion: 1 }, type), 'old');
  const answer = await request(proxy.url, manifestPath('old'));
  expect(outcome(answer)).toBe('404 UNSUPPORTED');
  expect(answer.headers).not.toHaveProperty('allow');
});

test('who takes this for a forward proxy gets no image of the default registry in place of the one it named', async () => {
  const { upstream, proxy } = await scene();
  const answer = await request(proxy.url, `http://registry.corp.example${manifestPath('v1')}`);
  expect(outcome(answer)).toBe('404 NAME_UNKNOWN');
  expect(upstream.journal.count()).toBe(0);
});

test('Range on a manifest is ignored', async () => {
  const { proxy } = await scene();
  const answer = await request(proxy.url, manifestPath('v1'), { headers: { range: 'bytes=0-' } });
  expect(answer).toMatchObject({ status: 200, digest: image.manifest.digest });
  expect(answer.headers['content-range']).toBeUndefined();
});

test('If-None-Match of the current digest is 304 without a body, of another 200', async () => {
  const { proxy } = await scene();
  const etag = `"${image.manifest.digest}"`;
  expect((await mustGet(proxy.url, manifestPath('v1'))).headers.etag).toBe(etag);
  for (const value of [etag, `W/${etag}`, `"other", ${etag}`, '*']) {
    const answer = await request(proxy.url, manifestPath('v1'), { headers: { 'if-none-match': value } });
    expect(answer).toMatchObject({ status: 304, length: 0 });
    expect(answer.headers.etag).toBe(etag);
  }
  const other = await request(proxy.url, manifestPath('v1'), { headers: { 'if-none-match': '"other"' } });
  expect(other.status).toBe(200);
});

test('nothing is ever content-encoded, though clients offer it', async () => {
  const { proxy } = await scene();
  const headers = { 'accept-encoding': 'zstd;q=1.0, gzip;q=0.8, deflate;q=0.5' };
  const layer = image.layers[0]?.digest ?? '';
  for (const path of [
    manifestPath('v1'),
    `/v2/${repository}/blobs/${layer}`,
    '/v2/',
    manifestPath('nothing'),
  ]) {
    const answer = await request(proxy.url, path, { headers });
    expect(answer.headers['content-encoding']).toBeUndefined();
    expect(answer.headers['transfer-encoding']).toBeUndefined();
    expect(Number(answer.headers['content-length'])).toBe(answer.length);
  }
});

test('an encoded colon in a digest is understood, as some clients send it', async () => {
  const { proxy } = await scene();
  const path = manifestPath(image.manifest.digest.replace(':', '%3A'));
  expect((await mustGet(proxy.url, path)).digest).toBe(image.manifest.digest);
});

test('empty Basic credentials count as anonymous, wrong ones are not judged either', async () => {
  const { upstream, proxy } = await scene();
  for (const authorization of ['Basic Og==', 'Basic !!!', 'Bearer x', 'Basic dXNlcjpwYXNz']) {
    const answer = await request(proxy.url, manifestPath('v1'), { headers: { authorization } });
    expect(answer.status).toBe(200);
  }
  expect(upstream.journal.entries.every((entry) => entry.headers.authorization === undefined)).toBe(true);
});

test('an error to HEAD has the status and headers of the error to GET, and no body', async () => {
  const { proxy } = await scene();
  const get = await request(proxy.url, manifestPath('nothing'));
  const head = await request(proxy.url, manifestPath('nothing'), { method: 'HEAD' });
  expect(head).toMatchObject({ status: 404, length: 0 });
  expect(described(head)).toEqual(described(get));
});

test('a thousand connections of one request each do not wear the server out', async () => {
  const { proxy } = await scene();
  await mustGet(proxy.url, manifestPath('v1'));
  for (let batch = 0; batch < 20; batch += 1) {
    const answers = await Promise.all(
      Array.from({ length: 50 }, () => request(proxy.url, manifestPath('v1'))),
    );
    expect(answers.every((answer) => answer.status === 200)).toBe(true);
  }
});
