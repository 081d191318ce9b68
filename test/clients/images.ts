import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { gzipSync } from 'node:zlib';
import { blobOf, descriptorOf, manifestOf, seededBytes, type TestBlob } from '../helpers/image.ts';
import { programs } from './sandbox.ts';
import { packTar, type TarEntry } from './tar.ts';

/** What a test needs to know of a pushed image; plain data, handed from the global setup to the tests. */
export type PushedImage = {
  /** The full reference that a client is told, such as `docker.io/library/app:1.0`. */
  readonly reference: string;
  /** The digest that the tag points to. */
  readonly digest: string;
  /** The size in bytes of each blob, by digest. */
  readonly blobs: Readonly<Record<string, number>>;
  /** What the image prints when it is run. */
  readonly prints: string;
};

/** The images of the test registries: the first three belong to docker.io, the fourth to ghcr.io. */
export type Images = {
  /** A runnable OCI image of five layers, one of them larger than 50 MB. */
  readonly app: PushedImage;
  /** A small runnable image under the tag that the policy denies. */
  readonly latest: PushedImage;
  /** An OCI index over linux/amd64 and linux/arm64. */
  readonly multi: PushedImage;
  /** A small runnable image of Docker's older format. */
  readonly tool: PushedImage;
  /** A small runnable image of a registry that lets nobody in without a login. */
  readonly secret: PushedImage;
};

/** The name of a registry that lets nobody in without a login; its content lies beside that of ghcr.io. */
export const privateRegistry = 'private.example';

type Layer = TestBlob & { readonly diffId: string };
type Format = { manifest: string; config: string; layer: string };
type Built = { readonly manifest: TestBlob; readonly blobs: readonly TestBlob[] };

const index = 'application/vnd.oci.image.index.v1+json';
const oci: Format = {
  manifest: 'application/vnd.oci.image.manifest.v1+json',
  config: 'application/vnd.oci.image.config.v1+json',
  layer: 'application/vnd.oci.image.layer.v1.tar+gzip',
};
const docker: Format = {
  manifest: 'application/vnd.docker.distribution.manifest.v2+json',
  config: 'application/vnd.docker.container.image.v1+json',
  layer: 'application/vnd.docker.image.rootfs.diff.tar.gzip',
};

/** Builds all images and pushes them to the registries on the given ports. */
export async function pushImages(ports: { dockerHub: number; ghcr: number }): Promise<Images> {
  const busybox = await readFile(programs.busybox);
  const hub = `http://127.0.0.1:${ports.dockerHub}/v2/library`;
  const base = layerOf(oci, system(busybox));

  const large = seededBytes('app/large', 54_000_000);
  const sum = createHash('sha256').update(large).digest('hex');
  const app = imageOf(oci, 'amd64', [
    base,
    layerOf(oci, [directory('opt'), file('opt/large', large)]),
    layerOf(oci, [directory('opt'), file('opt/medium', seededBytes('app/medium', 6_000_000))]),
    layerOf(oci, [directory('opt'), file('opt/text', Buffer.from('compressible\n'.repeat(200_000)))]),
    layerOf(oci, [file('start', Buffer.from('echo app 1.0 $(sha256sum </opt/large)\n'))]),
  ]);

  const multi = ['amd64', 'arm64'].map((architecture) => {
    const start = layerOf(oci, [file('start', Buffer.from(`echo multi ${architecture}\n`))]);
    return { architecture, image: imageOf(oci, architecture, [base, start]) };
  });
  const manifests = multi.map(({ architecture, image }) => {
    return { ...descriptorOf(image.manifest), platform: { os: 'linux', architecture } };
  });
  const multiIndex = manifestOf({ schemaVersion: 2, mediaType: index, manifests }, index);

  const small = (format: Format, text: string) => {
    const start = file('start', Buffer.from(`echo ${text}\n`));
    return imageOf(format, 'amd64', [layerOf(format, [...system(busybox), start])]);
  };
  const tool = small(docker, 'tool from ghcr.io');
  const latest = small(oci, 'the latest');
  const secret = small(oci, 'a secret');

  const prints = `app 1.0 ${sum} -`;
  return {
    app: await push('docker.io/library/app:1.0', hub, [app], app.manifest, prints),
    latest: await push('docker.io/library/app:latest', hub, [latest], latest.manifest, 'the latest'),
    multi: await push(
      'docker.io/library/multi:1.0',
      hub,
      multi.map(({ image }) => image),
      multiIndex,
      'multi amd64',
    ),
    tool: await push(
      'ghcr.io/org/tool:1.0',
      `http://127.0.0.1:${ports.ghcr}/v2/org`,
      [tool],
      tool.manifest,
      'tool from ghcr.io',
    ),
    secret: await push(
      `${privateRegistry}/team/secret:1.0`,
      `http://127.0.0.1:${ports.ghcr}/v2/team`,
      [secret],
      secret.manifest,
      'a secret',
    ),
  };
}

/** The bytes of an image's blobs together. */
export function sizeOf(image: PushedImage): number {
  return Object.values(image.blobs).reduce((sum, size) => sum + size, 0);
}

/** The largest blob of an image. */
export function largestBlob(image: PushedImage): [digest: string, size: number] {
  return Object.entries(image.blobs).reduce((one, other) => (other[1] > one[1] ? other : one));
}

function system(busybox: Buffer): TarEntry[] {
  const links = ['sh', 'echo', 'sha256sum'].map((name): TarEntry => {
    return { kind: 'symlink', path: `bin/${name}`, target: 'busybox' };
  });
  const directories = ['bin', 'etc', 'proc', 'sys', 'dev', 'tmp'].map(directory);
  return [...directories, { kind: 'file', path: 'bin/busybox', mode: 0o755, bytes: busybox }, ...links];
}

function directory(path: string): TarEntry {
  return { kind: 'directory', path };
}

function file(path: string, bytes: Buffer): TarEntry {
  return { kind: 'file', path, mode: 0o644, bytes };
}

function layerOf(format: Format, entries: readonly TarEntry[]): Layer {
  const tar = packTar(entries);
  const diffId = `sha256:${createHash('sha256').update(tar).digest('hex')}`;
  return { ...blobOf(gzipSync(tar, { level: 1 }), format.layer), diffId };
}

function imageOf(format: Format, architecture: string, layers: readonly Layer[]): Built {
  const configuration = {
    architecture,
    os: 'linux',
    config: { Cmd: ['/bin/sh', '/start'], Env: ['PATH=/bin'] },
    rootfs: { type: 'layers', diff_ids: layers.map((layer) => layer.diffId) },
    history: layers.map((_, position) => ({ created_by: `layer ${position}` })),
  };
  const config = manifestOf(configuration, format.config);
  const document = {
    schemaVersion: 2,
    mediaType: format.manifest,
    config: descriptorOf(config),
    layers: layers.map(descriptorOf),
  };
  return { manifest: manifestOf(document, format.manifest), blobs: [config, ...layers] };
}

/** Pushes blobs, the manifests of each image by digest, and last the tag, over the distribution-spec's API. */
async function push(
  reference: string,
  base: string,
  images: readonly Built[],
  top: TestBlob,
  prints: string,
): Promise<PushedImage> {
  const [, name, tag] = /([a-z]+):([a-z0-9.]+)$/.exec(reference) ?? [];
  const blobs: Record<string, number> = {};
  for (const image of images) {
    for (const blob of image.blobs) {
      if (!(blob.digest in blobs)) await pushBlob(`${base}/${name}`, blob);
      blobs[blob.digest] = blob.bytes.length;
    }
    await put(`${base}/${name}/manifests/${image.manifest.digest}`, image.manifest);
  }
  await put(`${base}/${name}/manifests/${tag}`, top);
  return { reference, digest: top.digest, blobs, prints };
}

async function pushBlob(repository: string, blob: TestBlob): Promise<void> {
  const head = await fetch(`${repository}/blobs/${blob.digest}`, { method: 'HEAD' });
  if (head.ok) return;
  const begun = await fetch(`${repository}/blobs/uploads/`, { method: 'POST' });
  const location = new URL(begun.headers.get('location') ?? '', repository);
  location.searchParams.set('digest', blob.digest);
  await put(location.href, { ...blob, mediaType: 'application/octet-stream' });
}

async function put(url: string, blob: TestBlob): Promise<void> {
  const headers = { 'content-type': blob.mediaType };
  const answer = await fetch(url, { method: 'PUT', headers, body: new Uint8Array(blob.bytes) });
  if (answer.status !== 201) throw new Error(`PUT ${url}: ${answer.status} ${await answer.text()}`);
}
