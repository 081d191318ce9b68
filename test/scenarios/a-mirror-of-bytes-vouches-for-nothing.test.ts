import { expect, test } from 'vitest';
import { blobPath, manifestPath, mustGet, repository } from '../helpers/cold-layer.ts';
import { startFakeUpstream } from '../helpers/fake-upstream.ts';
import { makeImage, makeIndex } from '../helpers/image.ts';
import { listAsReferrers } from '../helpers/lying-mirror.ts';
import { request } from '../helpers/request.ts';
import { type ProxyOptions, startProxy } from '../helpers/start-proxy.ts';

const good = makeImage({ seed: 'good' });
const bad = makeIndex({ seed: 'bad' });
const [part] = bad.images;
const secret = makeImage({ seed: 'secret' });

/** A registry, and a mirror of it that is trusted with content by its digest only, and is asked first. */
async function scene(options: ProxyOptions) {
  const origin = await startFakeUpstream();
  const mirror = await startFakeUpstream();
  const proxy = await startProxy({
    registries: { 'ghcr.io': { upstreams: [{ url: mirror.url, tags: false }, origin], negativeTtl: 0 } },
    ...options,
  });
  const status = async (path: string) => (await request(proxy.url, path)).status;
  return { origin, mirror, proxy, status };
}

test('what is denied by its digest is known by its parts where only the mirror still has it', async () => {
  const { origin, mirror, proxy, status } = await scene({
    policy: { rules: [{ images: ['**'], digests: [bad.manifest.digest], action: 'deny' }] },
  });
  mirror.add(repository, bad);
  mirror.add(repository, good);
  origin.add(repository, good, 'v1');
  expect(await status(manifestPath(part?.manifest.digest ?? ''))).toBe(403);
  expect(await status(blobPath(part?.config.digest ?? ''))).toBe(403);
  await mustGet(proxy.url, manifestPath(good.manifest.digest));
});

test('its list of referrers makes nothing readable', async () => {
  const { origin, mirror, proxy, status } = await scene({
    policy: { rules: [{ images: ['**'], tags: ['latest'], action: 'deny' }] },
  });
  const denied = makeImage({ seed: 'denied' });
  origin.add(repository, denied, 'latest');
  origin.add(repository, good, 'v1');
  listAsReferrers(mirror, [denied.manifest]);
  await mustGet(proxy.url, manifestPath('v1'));
  const listed = await mustGet(proxy.url, `/v2/${repository}/referrers/${good.manifest.digest}`);
  expect(listed.text).not.toContain(denied.manifest.digest);
  expect(await status(manifestPath(denied.manifest.digest))).toBe(403);
  expect(await status(blobPath(denied.config.digest))).toBe(403);
});

test('its word does not open what another repository brought', async () => {
  const access = { anonymous: [{ images: ['ghcr.io/public/**'], actions: ['pull' as const] }] };
  const { origin, mirror, proxy } = await scene({});
  origin.add('corp/private', secret, 'v1');
  origin.add('public/app', good, 'v1');
  const [layer] = secret.layers;
  const path = blobPath(layer?.digest ?? '', 'public/app');
  await mustGet(proxy.url, manifestPath('v1', 'corp/private'));
  await mustGet(proxy.url, blobPath(layer?.digest ?? '', 'corp/private'));
  await proxy.close();
  const { storagePath } = proxy;
  const guarded = await startProxy({
    registries: { 'ghcr.io': { upstreams: [{ url: mirror.url, tags: false }, origin], negativeTtl: 0 } },
    storagePath,
    access,
  });
  mirror.script({ match: { kind: 'blob', method: 'HEAD' }, status: 200 });
  expect((await request(guarded.url, path)).status).toBe(404);
  await mustGet(guarded.url, manifestPath('v1', 'public/app'));
});
