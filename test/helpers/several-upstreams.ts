import type { UpstreamConfig } from '../../src/config/config.ts';
import { blobPath, manifestPath, mustGet, repository } from './cold-layer.ts';
import { type FakeUpstream, type FakeUpstreamOptions, startFakeUpstream } from './fake-upstream.ts';
import { makeImage, type TestBlob, type TestImage } from './image.ts';
import type { JournalFilter } from './journal.ts';
import { type ProxyOptions, type RunningProxy, startProxy } from './start-proxy.ts';
import { type ProxyProcess, startProxyProcess } from './start-proxy-process.ts';

/** How the scene of {@link severalUpstreams} deviates. */
export type SceneOptions = {
  /** What each upstream is configured with, in the listed order: as many upstreams as entries, two by default. */
  readonly configured?: readonly Partial<UpstreamConfig>[];
  /** What every upstream is like. */
  readonly fake?: FakeUpstreamOptions;
};

/** Upstreams that all hold one image, before any server. */
export type Upstreams = {
  /** The first and the second in the listed order. */
  readonly a: FakeUpstream;
  readonly b: FakeUpstream;
  readonly all: readonly FakeUpstream[];
  readonly image: TestImage;
  /** The image's first layer, and its path. */
  readonly layer: TestBlob;
  readonly path: string;
  /** Downloads of that layer. */
  readonly downloads: JournalFilter;
  /** What to configure registry `ghcr.io` with. */
  readonly registries: NonNullable<ProxyOptions['registries']>;
  /** Body bytes of a blob (the first layer by default) that all upstreams sent together. */
  bytes(digest?: string): number;
};

/** Downloads of any blob. */
export const blobDownloads: JournalFilter = { method: 'GET', kind: 'blob' };

/**
 * Timeouts under which nothing is given up within a test: what is continued elsewhere is so for the reason that the
 * test is about.
 */
export const patient: Partial<UpstreamConfig> = {
  connectTimeout: 25_000,
  headersTimeout: 25_000,
  stallTimeout: 25_000,
};

/** Opens upstreams that hold one image with layers of these sizes as tag `v1`. */
export async function upstreamsWith(
  sizes: readonly number[],
  { configured = [{}, {}], fake }: SceneOptions = {},
): Promise<Upstreams> {
  const all = await Promise.all(configured.map(() => startFakeUpstream(fake)));
  const [a, b = a] = all;
  const image = makeImage({ layers: sizes });
  const [layer] = image.layers;
  if (!a || !b || !layer) throw new Error('no upstream, or no layer');
  for (const upstream of all) upstream.add(repository, image, 'v1');
  return {
    a,
    b,
    all,
    image,
    layer,
    path: blobPath(layer.digest),
    downloads: { method: 'GET', kind: 'blob', reference: layer.digest },
    registries: { 'ghcr.io': all.map((upstream, index) => ({ url: upstream.url, ...configured[index] })) },
    bytes: (digest = layer.digest) =>
      all.reduce((sum, upstream) => sum + upstream.journal.blobBytes(digest), 0),
  };
}

/** A server that knows the image's manifest but none of its blobs, in front of its upstreams. */
export async function severalUpstreams(
  sizes: readonly number[],
  { configured, fake, ...options }: SceneOptions & Omit<ProxyOptions, 'registries'> = {},
): Promise<Upstreams & { readonly proxy: RunningProxy }> {
  const upstreams = await upstreamsWith(sizes, { ...(configured && { configured }), ...(fake && { fake }) });
  const proxy = await startProxy({ registries: upstreams.registries, ...options });
  await mustGet(proxy.url, manifestPath('v1'));
  return { ...upstreams, proxy };
}

/** As {@link severalUpstreams}, with the server in a process of its own. */
export async function severalUpstreamsAndProcess(
  sizes: readonly number[],
  options: SceneOptions = {},
): Promise<Upstreams & { readonly proxy: ProxyProcess }> {
  const upstreams = await upstreamsWith(sizes, options);
  const proxy = await startProxyProcess({ registries: upstreams.registries });
  await mustGet(proxy.url, manifestPath('v1'));
  return { ...upstreams, proxy };
}
