import { createHash } from 'node:crypto';
import { gzipSync } from 'node:zlib';
import { blobOf, descriptorOf, manifestOf, seededBytes, type TestBlob } from '../helpers/image.ts';
import type { PushedImage } from './images.ts';
import { packTar } from './tar.ts';

/** An image and what it does not share with the one before it. */
export type NextVersion = {
  readonly image: PushedImage;
  /** Its manifest, its config, and the layers that are new in it, by digest; their sizes in bytes. */
  readonly changed: Readonly<Record<string, number>>;
};

type Descriptor = { readonly digest: string; readonly mediaType: string; readonly size: number };
type Manifest = { readonly mediaType: string; readonly config: Descriptor; readonly layers: Descriptor[] };
type Config = { readonly rootfs: { readonly type: string; readonly diff_ids: readonly string[] } };

/**
 * Pushes a later version of an image beside it, as a build does that changed its last step: the last layer is another,
 * all before it are the same.
 */
export async function pushNextVersion(
  registryPort: number,
  { reference, digest, blobs }: PushedImage,
  tag: string,
): Promise<NextVersion> {
  const [name = ''] = reference.slice(reference.indexOf('/') + 1).split(':');
  const repository = `http://127.0.0.1:${registryPort}/v2/${name}`;
  const accept = 'application/vnd.oci.image.manifest.v1+json';
  const manifest = await get<Manifest>(`${repository}/manifests/${digest}`, { accept });
  const config = await get<Config>(`${repository}/blobs/${manifest.config.digest}`);

  const prints = `version ${tag}`;
  const tar = packTar([
    { kind: 'file', path: 'start', mode: 0o644, bytes: Buffer.from(`echo ${prints}\n`) },
    { kind: 'file', path: 'news', mode: 0o644, bytes: seededBytes(`news of ${tag}`, 2_000_000) },
  ]);
  const last = manifest.layers.at(-1);
  const layer = blobOf(gzipSync(tar, { level: 1 }), last?.mediaType);
  const diffId = `sha256:${createHash('sha256').update(tar).digest('hex')}`;
  const diffIds = [...config.rootfs.diff_ids.slice(0, -1), diffId];
  const nextConfig = manifestOf(
    { ...config, rootfs: { ...config.rootfs, diff_ids: diffIds } },
    manifest.config.mediaType,
  );
  const layers = [...manifest.layers.slice(0, -1), descriptorOf(layer)];
  const next = manifestOf({ ...manifest, config: descriptorOf(nextConfig), layers }, manifest.mediaType);

  for (const blob of [layer, nextConfig]) await pushBlob(repository, blob);
  await push('PUT', `${repository}/manifests/${tag}`, next, next.mediaType);
  const sizes = (pieces: readonly TestBlob[]) =>
    Object.fromEntries(pieces.map((piece) => [piece.digest, piece.bytes.length]));
  const gone = new Set([manifest.config.digest, last?.digest]);
  const kept = Object.entries(blobs).filter(([known]) => !gone.has(known));
  return {
    image: {
      reference: reference.replace(/:[^:/]+$/, `:${tag}`),
      digest: next.digest,
      blobs: { ...Object.fromEntries(kept), ...sizes([layer, nextConfig]) },
      prints,
    },
    changed: sizes([layer, nextConfig, next]),
  };
}

async function get<T>(url: string, headers: Readonly<Record<string, string>> = {}): Promise<T> {
  const answer = await fetch(url, { headers });
  if (!answer.ok) throw new Error(`GET ${url}: ${answer.status}`);
  return (await answer.json()) as T;
}

async function pushBlob(repository: string, blob: TestBlob): Promise<void> {
  const begun = await fetch(`${repository}/blobs/uploads/`, { method: 'POST' });
  const location = new URL(begun.headers.get('location') ?? '', repository);
  location.searchParams.set('digest', blob.digest);
  await push('PUT', location.href, blob, 'application/octet-stream');
}

async function push(method: string, url: string, { bytes }: TestBlob, type: string): Promise<void> {
  const headers = { 'content-type': type };
  const answer = await fetch(url, { method, headers, body: new Uint8Array(bytes) });
  if (answer.status !== 201) throw new Error(`${method} ${url}: ${answer.status} ${await answer.text()}`);
}
