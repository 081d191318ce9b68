import { describe, expect, it } from 'vitest';
import { mediaTypes } from '../../src/oci/media-types.ts';
import { blobPath, manifestPath, mustGet, repository } from '../helpers/cold-layer.ts';
import type { Fault } from '../helpers/fake-faults.ts';
import { startFakeUpstream } from '../helpers/fake-upstream.ts';
import { descriptorOf, makeBlob, makeImage, manifestOf } from '../helpers/image.ts';
import { outcome, request } from '../helpers/request.ts';
import { startProxy } from '../helpers/start-proxy.ts';

const foreignTypes = [
  'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip',
  'application/vnd.oci.image.layer.nondistributable.v1.tar+gzip',
  'application/vnd.oci.image.layer.v1.tar+gzip',
] as const;

/** An image of which one layer, unknown to the registry or broken there, says that it can be had elsewhere too. */
async function scene(mediaType: string) {
  const username = 'robot-account';
  const password = 'p4ssw0rd-of-upstream';
  const registry = await startFakeUpstream({ auth: { kind: 'basic', username, password } });
  const elsewhere = await startFakeUpstream();
  const image = makeImage();
  const layer = makeBlob('foreign', 300_000, mediaType);
  elsewhere.content.addBlob(repository, layer);
  const document = {
    schemaVersion: 2,
    mediaType: mediaTypes.ociManifest,
    config: { ...descriptorOf(image.config), urls: [`${elsewhere.url}/config`] },
    layers: [{ ...descriptorOf(layer), urls: [`${elsewhere.url}${blobPath(layer.digest)}`] }],
  };
  registry.content.addManifest(repository, manifestOf(document, mediaTypes.ociManifest), 'v1');
  registry.content.addBlob(repository, image.config);
  const proxy = await startProxy({
    registries: { 'ghcr.io': { url: registry.url, username, password } },
    allowFills: true,
  });
  await mustGet(proxy.url, manifestPath('v1'));
  return { registry, elsewhere, proxy, layer };
}

describe('CVE-2020-15157 (containerd): credentials are sent to the URL of a foreign layer', () => {
  it.each(foreignTypes)('a layer of type %s that the registry does not hold is missing', async (type) => {
    const { elsewhere, proxy, layer } = await scene(type);
    await request(proxy.url, blobPath(layer.digest), { method: 'HEAD' });
    for (const headers of [{}, { range: 'bytes=0-9' }]) {
      const answer = await request(proxy.url, blobPath(layer.digest), { headers });
      expect(outcome(answer)).toBe('404 BLOB_UNKNOWN');
    }
    expect(elsewhere.journal.count()).toBe(0);
  });
});

describe('CVE-2026-49349 (regclient): a blob request that failed is repeated at the URLs of its descriptor', () => {
  const failures: [string, Fault][] = [
    ['answers 500', { status: 500 }],
    ['answers 403', { status: 403 }],
    ['resets the connection', { reset: true }],
    ['breaks off in the middle', { cutAt: 100_000 }],
    ['sends wrong bytes', { corruptAt: 10 }],
  ];
  it.each(failures)('not when the registry %s', async (_, fault) => {
    const { registry, elsewhere, proxy, layer } = await scene(foreignTypes[2]);
    registry.content.addBlob(repository, layer);
    registry.script({ match: { kind: 'blob' }, ...fault });
    for (const _again of [1, 2]) {
      const answer = await request(proxy.url, blobPath(layer.digest)).catch(() => undefined);
      expect(answer?.status === 200 && answer.complete).toBe(false);
    }
    expect(registry.journal.count({ kind: 'blob' })).toBeGreaterThan(0);
    expect(elsewhere.journal.count()).toBe(0);
  });
});
