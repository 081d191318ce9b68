import { Hono } from 'hono';
import { expect, onTestFinished, test } from 'vitest';
import { showSite } from '../../src/app/gauges.ts';
import { type Ground, openGround } from '../../src/app/ground.ts';
import { Lifetime } from '../../src/app/lifetime.ts';
import { openSite, type Site } from '../../src/app/site.ts';
import { HttpServer } from '../../src/http/server/server.ts';
import { systemClock } from '../../src/lib/clock.ts';
import type { RepositoryName } from '../../src/oci/reference.ts';
import { upstreamsOf } from '../../src/pull/source.ts';
import type { StoredManifest } from '../../src/store/manifest-records.ts';
import { captureLog } from '../helpers/capture-log.ts';
import { blobPath, manifestPath, repository } from '../helpers/cold-layer.ts';
import { metadataUnderTest } from '../helpers/delayed-metadata.ts';
import { download } from '../helpers/download.ts';
import { startFakeUpstream } from '../helpers/fake-upstream.ts';
import { blobsOf, makeImage } from '../helpers/image.ts';
import { type ConfigOptions, makeConfig } from '../helpers/proxy-config.ts';
import { request } from '../helpers/request.ts';
import { temporaryDirectory } from '../helpers/start-proxy.ts';

const megabyte = 1_000_000;

/** A listener over one ground, on which sites can be put one after the other. */
async function groundScene() {
  const { log } = captureLog();
  const storage = await temporaryDirectory();
  const lifetime = new Lifetime({ log }, { drainTimeout: 5_000 });
  onTestFinished(() => lifetime.close());
  const around = { log, clock: systemClock, random: () => 0.5, wrapMetadata: metadataUnderTest };
  const ground = await openGround(around, { storage, connections: 8 }, lifetime.onClose);
  let current: Site | undefined;
  const site = (): Site => {
    if (current === undefined) throw new Error('no site yet');
    return current;
  };
  showSite(ground.metrics, site);
  const operations = new Hono();
  const server = new HttpServer(
    { current: () => ({ registry: site().api, operations }), log, facts: ground.facts },
    { drainTimeout: 5_000, drainDelay: 0, writeStallTimeout: 60_000 },
  );
  const { port } = await server.start({ host: '127.0.0.1', port: 0 });
  return {
    ground,
    url: `http://127.0.0.1:${port}`,
    /** Puts the site of a configuration in place of the one before, which is left open. */
    put: async (options: ConfigOptions): Promise<Site> => {
      const made = await openSite(makeConfig(storage, options), ground);
      lifetime.onClose(() => made.close());
      // The listener goes before the sites do.
      lifetime.onClose(() => server.close());
      current = made;
      return made;
    },
  };
}

async function metric(ground: Ground, line: RegExp): Promise<readonly string[]> {
  return (await ground.metrics.render()).text.split('\n').filter((each) => line.test(each));
}

test('a second site takes over from the first: its rules, its registries, and what is stored', async () => {
  const upstream = await startFakeUpstream();
  const image = makeImage({ layers: [1_000] });
  upstream.add(repository, image, 'v1');
  const { ground, url, put } = await groundScene();
  const first = await put({ registries: { 'ghcr.io': upstream } });
  expect((await request(url, manifestPath('v1'))).headers['x-cache']).toBe('miss');
  await put({
    registries: { 'quay.io': upstream, 'ghcr.io': upstream },
    policy: {
      rules: [
        { images: ['quay.io/**'], tags: ['v1'], action: 'deny', reason: 'Not this one.' },
      ] as unknown as NonNullable<NonNullable<ConfigOptions['policy']>['rules']>,
    },
  });
  await first.close();
  expect((await request(url, manifestPath('v1', `quay.io/${repository}`))).status).toBe(403);
  expect((await request(url, manifestPath('v1', `ghcr.io/${repository}`))).headers['x-cache']).toBe('hit');
  const up = await metric(ground, /^entrepot_upstream_up\{/);
  expect(up.map((line) => /registry="([^"]+)"/.exec(line)?.[1])).toEqual(['quay.io', 'ghcr.io']);
});

test('a request ends on the site on which it began, and a download of the first is joined through the second', async () => {
  const upstream = await startFakeUpstream();
  const image = makeImage({ layers: [12 * megabyte] });
  upstream.add(repository, image, 'v1');
  const [layer] = image.layers;
  if (layer === undefined) throw new Error('the image has no layer');
  const { url, put } = await groundScene();
  const registries = { 'ghcr.io': upstream };
  const first = await put({ registries });
  await request(url, manifestPath('v1'));
  const downloads = { method: 'GET', kind: 'blob', reference: layer.digest } as const;
  const stall = upstream.script({ match: downloads, stallAt: 8 * megabyte });
  const early = download(url, blobPath(layer.digest), layer.bytes);
  await stall.reached();
  await put({ registries });
  const late = download(url, blobPath(layer.digest), layer.bytes);
  await late.received(4 * megabyte);
  stall.release();
  expect([await early.ended, await late.ended]).toEqual(['complete', 'complete']);
  expect(late.cache).toBe('joined');
  expect(upstream.journal.count(downloads)).toBe(1);
  await first.close();
  expect((await request(url, blobPath(layer.digest))).headers['x-cache']).toBe('hit');
});

test('what is known of an upstream outlasts the site in which it was learnt', async () => {
  const upstream = await startFakeUpstream();
  const { put } = await groundScene();
  const registries = { 'ghcr.io': upstream };
  const first = await put({ registries });
  const [learnt] = first.registries.flatMap(upstreamsOf);
  learnt?.health.quarantine('wrong bytes');
  await first.close();
  const second = await put({ registries });
  const [known] = second.registries.flatMap(upstreamsOf);
  expect(known).not.toBe(learnt);
  expect(known?.health.describe().quarantinedUntil).toBeDefined();
});

test('what a site fetches ahead are layers of its own pulls, and none once it is closed', async () => {
  const upstream = await startFakeUpstream();
  const image = makeImage({ layers: [1_000] });
  upstream.add(repository, image, 'v1');
  const { ground, url, put } = await groundScene();
  const ahead = { registries: { 'ghcr.io': upstream }, prefetch: true };
  const [first, second] = [await put(ahead), await put({ ...ahead, prefetch: false })];
  const fetched = Promise.withResolvers<void>();
  let left = blobsOf(image).length;
  ground.facts.on('blob-prefetched', () => {
    left -= 1;
    if (left === 0) fetched.resolve();
  });
  // Through the second, which fetches nothing ahead: the first hears of it.
  await request(url, manifestPath('v1'));
  const { digest, mediaType, bytes } = image.manifest;
  const manifest = { digest, mediaType, bytes } as unknown as StoredManifest;
  const served = ({ registries: [registry] }: Site) => {
    if (registry === undefined) throw new Error('the site has no registry');
    const target = { registry, repository: repository as RepositoryName };
    ground.facts.tell({ kind: 'manifest-served', target, manifest });
  };
  served(second);
  expect(upstream.journal.count({ kind: 'blob' })).toBe(0);
  served(first);
  await fetched.promise;
  const before = upstream.journal.count({ kind: 'blob' });
  await first.close();
  served(first);
  await request(url, manifestPath('v1'));
  expect(upstream.journal.count({ kind: 'blob' })).toBe(before);
});
