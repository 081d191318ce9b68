import { readFileSync } from 'node:fs';
import semver from 'semver';
import { describe, expect, it } from 'vitest';
import { mediaTypes } from '../../src/oci/media-types.ts';
import { blobPath, manifestPath, mustGet, repository } from '../helpers/cold-layer.ts';
import { startFakeUpstream } from '../helpers/fake-upstream.ts';
import { makeImage, makeIndex, manifestOf } from '../helpers/image.ts';
import { filesContaining } from '../helpers/leaks.ts';
import { ociError, outcome, request } from '../helpers/request.ts';
import { startProxy } from '../helpers/start-proxy.ts';
import { rawServer } from '../upstream/loopback.ts';

const { ociManifest, ociIndex, dockerManifest, dockerList } = mediaTypes;
const image = makeImage();
const index = makeIndex();
const imageDocument = JSON.parse(image.manifest.bytes.toString()) as Record<string, unknown>;
const indexDocument = JSON.parse(index.manifest.bytes.toString()) as Record<string, unknown>;

describe('CVE-2026-1525 (undici): an answer with two lengths is accepted', () => {
  const layer = image.layers[0] ?? image.config;
  const bodies = new Map([
    [manifestPath('v1'), image.manifest],
    [manifestPath('v2'), image.manifest],
    [blobPath(layer.digest), layer],
  ]);
  const framings: [string, (length: number) => string][] = [
    ['two lengths', (length) => `Content-Length: ${length}\r\nContent-Length: ${length + 3}`],
    ['a list of lengths', (length) => `Content-Length: ${length}, ${length + 3}`],
    ['a length and chunks', (length) => `Content-Length: ${length}\r\nTransfer-Encoding: chunked`],
    ['a length with a sign', (length) => `Content-Length: +${length}`],
  ];

  it.each(framings)('an upstream that answers with %s is not believed', async (_, framing) => {
    const { port } = await rawServer((socket, head) => {
      const [method = '', path = ''] = head.split(' ');
      const { bytes, mediaType } = bodies.get(path) ?? image.config;
      const right = path === manifestPath('v1');
      const length = right ? `Content-Length: ${bytes.length}` : framing(bytes.length);
      socket.write(`HTTP/1.1 200 OK\r\nContent-Type: ${mediaType}\r\n${length}\r\n\r\n`);
      if (method === 'GET') socket.write(right ? bytes : Buffer.concat([bytes, Buffer.from('GET')]));
      socket.end();
    });
    const url = `http://127.0.0.1:${port}`;
    const proxy = await startProxy({ registries: { 'ghcr.io': { url } }, allowFills: true });
    expect(outcome(await request(proxy.url, manifestPath('v2')))).toBe('503 UNAVAILABLE');
    await mustGet(proxy.url, manifestPath('v1'));
    const blob = await request(proxy.url, blobPath(layer.digest));
    expect(outcome(blob)).toBe('503 UNAVAILABLE');
  });

  it.each([
    ['one byte less', (bytes: Buffer) => bytes.subarray(1)],
    ['one byte more', (bytes: Buffer) => Buffer.concat([bytes, Buffer.from('!')])],
  ])('a body that declares %s than its manifest says is not read', async (_, other) => {
    const upstream = await startFakeUpstream();
    upstream.add(repository, image, 'v1');
    upstream.script({ match: { kind: 'blob' }, body: other(layer.bytes) });
    const proxy = await startProxy({ registries: { 'ghcr.io': upstream } });
    await mustGet(proxy.url, manifestPath('v1'));
    const answer = await request(proxy.url, blobPath(layer.digest));
    expect(outcome(answer)).toBe('503 UNAVAILABLE');
    expect(ociError(answer).message).toContain(`bytes where ${layer.bytes.length} are due`);
  });

  it('the undici in use is one in which that is fixed', () => {
    const { version } = JSON.parse(
      readFileSync(new URL('../../node_modules/undici/package.json', import.meta.url), 'utf8'),
    ) as { version: string };
    expect(semver.satisfies(version, '>=6.24 <7 || >=7.24'), version).toBe(true);
  });
});

describe('CVE-2026-85747 (distribution): a manifest for a pinned digest is not hashed, and served again', () => {
  it('a forgery is refused each time, after a restart too, by either method', async () => {
    const upstream = await startFakeUpstream();
    const forged = manifestOf({ ...imageDocument, annotations: { forged: 'marker' } }, ociManifest);
    upstream.content.addManifest(repository, { ...image.manifest, bytes: forged.bytes });
    const proxy = await startProxy({ registries: { 'ghcr.io': { upstreams: [upstream], negativeTtl: 0 } } });
    const path = manifestPath(image.manifest.digest);
    const ask = async () => {
      for (const method of ['GET', 'HEAD', 'GET']) {
        const answer = await request(proxy.url, path, { method });
        expect(answer.status).toBe(503);
        expect(answer.text).not.toContain('marker');
      }
    };
    await ask();
    await proxy.restart();
    await ask();
    await proxy.close();
    expect(filesContaining(proxy.storagePath, 'marker')).toEqual([]);
  });

  it('a blob of wrong bytes never ends well and is not kept', async () => {
    const upstream = await startFakeUpstream();
    upstream.add(repository, image, 'v1');
    const proxy = await startProxy({ registries: { 'ghcr.io': upstream }, allowFills: true });
    await mustGet(proxy.url, manifestPath('v1'));
    const script = upstream.script({ match: { kind: 'blob' }, corruptAt: 5 });
    const path = blobPath(image.layers[0]?.digest ?? '');
    const answer = await request(proxy.url, path).catch(() => undefined);
    expect(script.hits).toBeGreaterThan(0);
    expect(answer?.status === 200 && answer.complete).toBe(false);
    expect(proxy.files().blobs).toEqual([]);
  });
});

describe('CVE-2025-24882 (regclient): the digest of a header replaces the one that was asked for', () => {
  it('another manifest that is right about itself is not what was asked for', async () => {
    const upstream = await startFakeUpstream();
    const other = makeImage({ seed: 'other' });
    upstream.add(repository, image, 'v1');
    const { digest } = image.manifest;
    upstream.script({
      match: { kind: 'manifest', reference: digest },
      headers: { 'docker-content-digest': other.manifest.digest },
      body: other.manifest.bytes,
    });
    const proxy = await startProxy({ registries: { 'ghcr.io': upstream } });
    expect(outcome(await request(proxy.url, manifestPath(digest)))).toBe('503 UNAVAILABLE');
    upstream.heal();
    expect(outcome(await request(proxy.url, manifestPath(other.manifest.digest)))).toBe(
      '404 MANIFEST_UNKNOWN',
    );
  });

  it('a header that claims the right digest for other bytes changes nothing', async () => {
    const upstream = await startFakeUpstream();
    upstream.add(repository, image, 'v1');
    upstream.script({ match: { kind: 'manifest' }, body: makeImage({ seed: 'other' }).manifest.bytes });
    const proxy = await startProxy({ registries: { 'ghcr.io': upstream } });
    const answer = await request(proxy.url, manifestPath(image.manifest.digest));
    expect(outcome(answer)).toBe('503 UNAVAILABLE');
    const tagged = await request(proxy.url, manifestPath('v1'));
    expect(tagged.headers['docker-content-digest']).not.toBe(image.manifest.digest);
  });
});

const confusions =
  'CVE-2021-41190, GHSA-qq97-vm5h-rrhg, GHSA-5j5w-g665-5m35: the same bytes are read as a manifest or as an index';

describe(confusions, () => {
  const both = { ...imageDocument, ...indexDocument, mediaType: undefined };
  const { config, layers } = imageDocument;
  const { manifests } = indexDocument;
  const ambiguous: [string, object, string][] = [
    ['both kinds of children, served as a manifest', both, ociManifest],
    ['both kinds of children, served as an index', both, ociIndex],
    ['manifests and a config', { schemaVersion: 2, manifests, config }, ociIndex],
    ['manifests and empty layers', { schemaVersion: 2, manifests, layers: [] }, ociIndex],
    [
      'the media type of an index, served as a manifest',
      { ...imageDocument, mediaType: ociIndex },
      ociManifest,
    ],
    [
      'the media type of a manifest, served as an index',
      { ...indexDocument, mediaType: ociManifest },
      ociIndex,
    ],
    ['the media type of OCI, served as Docker’s', imageDocument, dockerManifest],
    ['the media type of OCI, served as Docker’s list', indexDocument, dockerList],
    ['layers in another case', { ...indexDocument, Layers: layers, Config: config }, ociIndex],
    ['manifests in another case', { ...imageDocument, MANIFESTS: manifests }, ociManifest],
    [
      'a media type in another case',
      { ...imageDocument, mediaType: undefined, mediatype: ociIndex },
      ociManifest,
    ],
    ['layers with a long s, which Go reads as layers', { ...indexDocument, 'layer\u017f': layers }, ociIndex],
    ['no media type but of schema 1', { ...imageDocument, schemaVersion: 1 }, ociManifest],
  ];

  it.each(ambiguous)('a document with %s is refused by tag and by digest', async (_, document, type) => {
    const upstream = await startFakeUpstream();
    const manifest = manifestOf(document, type);
    upstream.content.addManifest(repository, manifest, 'v1');
    const proxy = await startProxy({ registries: { 'ghcr.io': upstream } });
    for (const reference of ['v1', manifest.digest]) {
      const answer = await request(proxy.url, manifestPath(reference));
      expect(answer.status, answer.text).toBeGreaterThanOrEqual(400);
      expect(ociError(answer).code).toMatch(/^MANIFEST_INVALID$|^UNAVAILABLE$/);
    }
  });

  it('what was stored is served with the media type it came with, whatever the client would like', async () => {
    const upstream = await startFakeUpstream();
    const plain = manifestOf({ ...imageDocument, mediaType: undefined }, ociManifest);
    upstream.content.addManifest(repository, plain, 'v1');
    const proxy = await startProxy({ registries: { 'ghcr.io': upstream } });
    const ask = (accept: string) => request(proxy.url, manifestPath('v1'), { headers: { accept } });
    for (const _ of ['cold', 'warm']) {
      for (const accept of [ociIndex, dockerList, '*/*', ociManifest]) {
        const answer = await ask(accept);
        expect([answer.status, answer.headers['content-type']]).toEqual([200, ociManifest]);
      }
    }
    // Nor does an upstream change its mind about bytes that are known.
    upstream.script({ match: { kind: 'manifest' }, headers: { 'content-type': ociIndex } });
    await proxy.restart();
    const again = await mustGet(proxy.url, manifestPath(plain.digest));
    expect(again.headers['content-type']).toBe(ociManifest);
  });
});
