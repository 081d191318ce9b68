import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { blobPath, mustGet, repository } from '../helpers/cold-layer.ts';
import { startFakeUpstream } from '../helpers/fake-upstream.ts';
import { makeImage } from '../helpers/image.ts';
import { pull } from '../helpers/pull.ts';
import { startProxy } from '../helpers/start-proxy.ts';
import { raw } from './raw-request.ts';
import { pulling, usersWith } from './users.ts';

const image = makeImage();
const layer = image.layers[0]?.digest ?? '';

describe('CVE-2024-4956 (Nexus), serve-static of hono and node-server: a path with %2f.. leaves its folder', () => {
  it('no path reads a file of the storage or of the machine', async () => {
    const upstream = await startFakeUpstream();
    upstream.add(repository, image, 'v1');
    const proxy = await startProxy({
      registries: { 'ghcr.io': upstream },
      access: { ...usersWith({ ann: pulling('**') }), anonymous: [{ images: ['**'], actions: ['pull'] }] },
    });
    await pull(proxy.url, { repository, reference: 'v1' });
    upstream.journal.clear();
    const key = readFileSync(join(proxy.storagePath, 'token.key')).toString('latin1');
    const ups = [
      '../',
      '..%2f',
      '..%2F',
      '%2e%2e/',
      '%2e%2e%2f',
      '..%5c',
      '..\\',
      '..%252f',
      '....//',
      '.%00./',
    ];
    const targets = ['token.key', 'index.db', 'etc/passwd'];
    const starts = [
      '/',
      '/v2/',
      `/v2/${repository}/blobs/`,
      `/v2/${repository}/blobs/sha256:`,
      `/v2/${repository}/blobs/sha256/`,
      `/v2/${repository}/manifests/`,
      '/ghcr.io/v2/',
      '/metrics/',
      '/api/v1/',
      '/token/',
    ];
    for (const start of starts) {
      for (const up of ups) {
        for (const target of targets) {
          const path = `${start}${up.repeat(8)}${target}`;
          const answer = await raw(proxy.host, `GET ${path} HTTP/1.1`);
          expect(answer, path).toMatch(/^HTTP\/1\.1 (?:400|401|404) /);
          expect(answer, path).not.toContain(key);
          expect(answer, path).not.toMatch(/SQLite format|root:/);
        }
      }
    }
    expect(upstream.journal.count()).toBe(0);
  });

  it('a digest is an algorithm and hex digits before it is a path', async () => {
    const upstream = await startFakeUpstream();
    upstream.add(repository, image, 'v1');
    const proxy = await startProxy({ registries: { 'ghcr.io': upstream } });
    await pull(proxy.url, { repository, reference: 'v1' });
    upstream.journal.clear();
    const hex = layer.slice(7);
    const forms = [
      `sha256:${hex.toUpperCase()}`,
      `SHA256:${hex}`,
      `sha256:${hex}/`,
      `sha256:${hex}%00`,
      `sha256:${hex}/../${hex}`,
      `sha256:../sha256/${hex.slice(0, 2)}/${hex}`,
      `sha256:${hex.slice(0, 63)}`,
      `sha256:${hex}0`,
      `sha512:${hex}`,
      `md5:${hex.slice(0, 32)}`,
      `sha1:${hex.slice(0, 40)}`,
      `sha256+b64:${hex}`,
    ];
    for (const form of forms) {
      for (const kind of ['blobs', 'manifests', 'referrers']) {
        const answer = await raw(proxy.host, `GET /v2/${repository}/${kind}/${form} HTTP/1.1`);
        expect(answer, form).toMatch(/^HTTP\/1\.1 4(?:00|04) /);
      }
    }
    expect(upstream.journal.count()).toBe(0);
    expect((await mustGet(proxy.url, blobPath(layer))).headers['x-cache']).toBe('hit');
  });

  it('a name that leaves its place reaches no upstream and no other repository', async () => {
    const upstream = await startFakeUpstream();
    upstream.add(repository, image, 'v1');
    const proxy = await startProxy({ registries: { 'ghcr.io': upstream } });
    await pull(proxy.url, { repository, reference: 'v1' });
    upstream.journal.clear();
    const names = [
      `../${repository}`,
      `x/../${repository}`,
      `x/..%2f${repository}`,
      `x%2f..%2f${repository}`,
      `./${repository}`,
      `x/../../v2/${repository}`,
      `%2e%2e/${repository}`,
      `${repository}/..`,
      `/${repository}`,
      `${repository}%00`,
      `${repository}%23`,
      `${repository}%3fx=1`,
      `x@127.0.0.1/${repository}`,
      repository.replace('/', '%2f'),
      repository.toUpperCase(),
    ];
    for (const name of names) {
      for (const end of [
        'manifests/v1',
        `manifests/${image.manifest.digest}`,
        `blobs/${layer}`,
        'tags/list',
      ]) {
        const answer = await raw(proxy.host, `GET /v2/${name}/${end} HTTP/1.1`);
        expect(answer, name).toMatch(/^HTTP\/1\.1 4(?:00|04) /);
      }
    }
    expect(upstream.journal.count()).toBe(0);
  });
});
