import { expect, test } from 'vitest';
import { blobPath, manifestPath, mustGet, repository } from '../helpers/cold-layer.ts';
import { startFakeUpstream } from '../helpers/fake-upstream.ts';
import { makeImage, makeIndex } from '../helpers/image.ts';
import { request } from '../helpers/request.ts';
import { startProxy } from '../helpers/start-proxy.ts';

const bad = makeIndex({ seed: 'bad' });
const good = makeImage({ seed: 'good' });

async function scene() {
  const upstream = await startFakeUpstream();
  upstream.add(repository, bad, 'v1');
  upstream.add(repository, good, 'v2');
  const proxy = await startProxy({
    registries: { 'ghcr.io': upstream },
    policy: { rules: [{ images: ['**'], digests: [bad.manifest.digest], action: 'deny', reason: 'CVE' }] },
  });
  const status = async (path: string) => (await request(proxy.url, path)).status;
  return { proxy, status };
}

test.each([['v1'], [bad.manifest.digest]])(
  'after %s was denied, its images and their layers are, although no rule names them',
  async (reference) => {
    const { proxy, status } = await scene();
    expect(await status(manifestPath(reference))).toBe(403);
    for (const image of bad.images) {
      expect(await status(manifestPath(image.manifest.digest))).toBe(403);
      expect(await status(blobPath(image.config.digest))).toBe(403);
      for (const layer of image.layers) expect(await status(blobPath(layer.digest))).toBe(403);
    }
    await mustGet(proxy.url, manifestPath('v2'));
    await mustGet(proxy.url, blobPath(good.config.digest));
  },
);
