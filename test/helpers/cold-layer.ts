import { vi } from 'vitest';
import type { UpstreamConfig } from '../../src/config/config.ts';
import { type FakeUpstream, type FakeUpstreamOptions, startFakeUpstream } from './fake-upstream.ts';
import { makeImage, type TestBlob, type TestImage } from './image.ts';
import type { JournalFilter } from './journal.ts';
import { patience } from './patience.ts';
import { type Answer, request } from './request.ts';
import { type ProxyOptions, type RunningProxy, startProxy } from './start-proxy.ts';

/** The repository that the scenarios pull unless they are about names. */
export const repository = 'org/app';

/** A server that knows an image's manifest but none of its blobs, in front of its upstream. */
export type ColdLayer = {
  readonly upstream: FakeUpstream;
  readonly proxy: RunningProxy;
  readonly image: TestImage;
  /** The image's one layer. */
  readonly layer: TestBlob;
  /** The layer's path on proxy and upstream. */
  readonly path: string;
  /** Downloads of the layer from the upstream. */
  readonly downloads: JournalFilter;
};

/** Sets the usual scene: registry `ghcr.io`, repository {@link repository}, tag `v1`, one layer of `size` bytes. */
export async function coldLayer(
  size: number,
  options: ProxyOptions & {
    upstream?: FakeUpstreamOptions;
    /** What the upstream is configured with. */
    configured?: Partial<UpstreamConfig>;
    prepare?: (image: TestImage) => void;
  } = {},
): Promise<ColdLayer> {
  const { upstream: upstreamOptions, configured, prepare, ...proxyOptions } = options;
  const upstream = await startFakeUpstream(upstreamOptions);
  const image = makeImage({ layers: [size] });
  upstream.add(repository, image, 'v1');
  prepare?.(image);
  const proxy = await startProxy({
    registries: { 'ghcr.io': { url: upstream.url, ...configured } },
    ...proxyOptions,
  });
  const [layer] = image.layers;
  if (!layer) throw new Error('the image has no layer');
  await mustGet(proxy.url, manifestPath('v1'));
  return {
    upstream,
    proxy,
    image,
    layer,
    path: blobPath(layer.digest),
    downloads: { method: 'GET', kind: 'blob', reference: layer.digest },
  };
}

/** The path of a manifest of {@link repository}, or of another. */
export function manifestPath(reference: string, name: string = repository): string {
  return `/v2/${name}/manifests/${reference}`;
}

/** The path of a blob of {@link repository}, or of another. */
export function blobPath(digest: string, name: string = repository): string {
  return `/v2/${name}/blobs/${digest}`;
}

/**
 * Waits until a blob that was just pulled is on disk and no download is under way. A client has its last byte a
 * moment before the blob is moved into place.
 */
export async function settled(proxy: Pick<RunningProxy, 'url' | 'files'>, path: string): Promise<void> {
  const first = { headers: { range: 'bytes=0-0' } };
  const isSettled = async () => {
    if (proxy.files().fills.length > 0) return false;
    return (await request(proxy.url, path, first)).headers['x-cache'] === 'hit';
  };
  await vi.waitUntil(isSettled, { timeout: patience, interval: 5 });
}

/** Gets a blob so that it is on disk from now on. */
export async function warm(proxy: Pick<RunningProxy, 'url' | 'files'>, path: string): Promise<void> {
  await mustGet(proxy.url, path);
  await settled(proxy, path);
}

/** Gets a path that has to be there. */
export async function mustGet(origin: string, path: string): Promise<Answer> {
  const answer = await request(origin, path);
  if (answer.status !== 200 || !answer.complete) {
    throw new Error(
      `GET ${path}: ${answer.status}, complete=${answer.complete}, ${answer.text.slice(0, 500)}`,
    );
  }
  return answer;
}
