import { createHash, randomFillSync } from 'node:crypto';
import { once } from 'node:events';
import { createReadStream, createWriteStream } from 'node:fs';
import { rm } from 'node:fs/promises';
import { type IncomingMessage, request } from 'node:http';
import { pipeline } from 'node:stream/promises';
import type { Sandbox } from './sandbox.ts';

export const manifestType = 'application/vnd.oci.image.manifest.v1+json';

/** A blob by content: `digest` is `sha256:<hex>`, `size` in bytes. */
export type Blob = { digest: string; size: number };

/** An image that the origin holds under `repository:1`. */
export type Image = { repository: string; manifest: Blob; config: Blob; layers: readonly Blob[] };

/** Paths of an image's parts below a registry's root. */
export const manifestPath = (image: Image, reference = '1') =>
  `/v2/${image.repository}/manifests/${reference}`;
export const blobPath = (image: Image, blob: Blob) => `/v2/${image.repository}/blobs/${blob.digest}`;

/**
 * Makes an image of incompressible layers of the given sizes (bytes), on top of those of `base`, and pushes it to a
 * registry.
 */
export async function pushImage(
  sandbox: Sandbox,
  registry: string,
  options: { repository: string; layerSizes: readonly number[]; base?: Image },
): Promise<Image> {
  const { repository, base } = options;
  const layers: Blob[] = [];
  for (const layer of base?.layers ?? []) {
    const mount = new URLSearchParams({ mount: layer.digest, from: base?.repository ?? '' });
    await send(new URL(`/v2/${repository}/blobs/uploads/?${mount}`, registry), 'POST', {}, Buffer.alloc(0));
    layers.push(layer);
  }
  for (const size of options.layerSizes) {
    const file = sandbox.path('layer');
    const digest = await writeRandomFile(file, size);
    await pushBlob(registry, repository, { digest, size }, file);
    await rm(file);
    layers.push({ digest, size });
  }
  const diffIds = layers.map(({ digest }) => digest);
  const configBytes = json({
    architecture: 'amd64',
    os: 'linux',
    rootfs: { type: 'layers', diff_ids: diffIds },
  });
  const config = describe(configBytes);
  await pushBlob(registry, repository, config, configBytes);
  const manifestBytes = json({
    schemaVersion: 2,
    mediaType: manifestType,
    config: { mediaType: 'application/vnd.oci.image.config.v1+json', ...config },
    layers: layers.map((layer) => ({ mediaType: 'application/vnd.oci.image.layer.v1.tar', ...layer })),
  });
  const path = `/v2/${repository}/manifests/1`;
  await send(new URL(path, registry), 'PUT', { 'content-type': manifestType }, manifestBytes);
  return { repository, manifest: describe(manifestBytes), config, layers };
}

async function pushBlob(
  registry: string,
  repository: string,
  blob: Blob,
  body: Buffer | string,
): Promise<void> {
  const opened = await send(
    new URL(`/v2/${repository}/blobs/uploads/`, registry),
    'POST',
    {},
    Buffer.alloc(0),
  );
  const target = new URL(opened.headers.location ?? '', registry);
  target.searchParams.set('digest', blob.digest);
  await send(target, 'PUT', { 'content-length': String(blob.size) }, body);
}

/** Sends bytes, or the file at a path, and expects a 2xx. */
async function send(
  url: URL,
  method: string,
  headers: Record<string, string>,
  body: Buffer | string,
): Promise<IncomingMessage> {
  const outgoing = request(url, { method, headers });
  const answered = once(outgoing, 'response');
  if (typeof body === 'string') await pipeline(createReadStream(body, { highWaterMark: 1 << 20 }), outgoing);
  else outgoing.end(body);
  const [response] = (await answered) as [IncomingMessage];
  response.resume();
  await once(response, 'end');
  if (Math.floor((response.statusCode ?? 0) / 100) !== 2) {
    throw new Error(`${method} ${url.pathname}: ${response.statusCode}`);
  }
  return response;
}

async function writeRandomFile(path: string, size: number): Promise<string> {
  const hash = createHash('sha256');
  const file = createWriteStream(path, { highWaterMark: 4 << 20 });
  for (let left = size; left > 0; left -= 1 << 20) {
    const chunk = randomFillSync(Buffer.allocUnsafe(Math.min(1 << 20, left)));
    hash.update(chunk);
    if (!file.write(chunk)) await once(file, 'drain');
  }
  file.end();
  await once(file, 'close');
  return `sha256:${hash.digest('hex')}`;
}

const json = (value: unknown): Buffer => Buffer.from(JSON.stringify(value));

const describe = (bytes: Buffer): Blob => ({
  digest: `sha256:${createHash('sha256').update(bytes).digest('hex')}`,
  size: bytes.length,
});
