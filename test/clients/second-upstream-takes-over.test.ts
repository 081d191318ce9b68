import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { gzipSync } from 'node:zlib';
import { expect, inject, type TestContext, test } from 'vitest';
import { stringify } from 'yaml';
import { blobOf, descriptorOf, manifestOf, seededBytes, type TestBlob } from '../helpers/image.ts';
import { startDockerd } from './dockerd.ts';
import { startDaemon } from './process.ts';
import { programs } from './sandbox.ts';
import { packTar, type TarEntry } from './tar.ts';
import { startUpstream } from './upstream.ts';

const megabyte = 1_000_000;
/** The first is by far the largest, so that its middle is that of the whole pull. */
const sizes = [220 * megabyte, 40 * megabyte, 40 * megabyte];
const pace = 40 * megabyte;

test('dockerd pulls a 300 MB image although an upstream dies in the middle of its largest layer', async (context) => {
  const directory = await temporary(context);
  const image = await pushLargeImage(`http://127.0.0.1:${inject('registryPorts').dockerHub}`);
  const [first, second] = await Promise.all(
    [1, 2].map(() => startUpstream(inject('registryPorts').dockerHub)),
  );
  if (!first || !second) throw new Error('no upstream');
  context.onTestFinished(async () => void (await Promise.all([first.stop(), second.stop()])));
  const server = await startServer(context, directory, [first.url, second.url]);
  const client = await startClient(context, directory, server.address);
  await Promise.all([first, second].map((upstream) => upstream.throttle(pace)));

  const pulling = client.pull('docker.io/library/large:1.0');
  // Which of them brings how much is theirs to show; one brings a quarter at least.
  const part = image.largest.bytes.length / 4;
  const dying = await Promise.race(
    [first, second].map(async (upstream) => {
      await upstream.reached(image.largest.digest, part);
      return upstream;
    }),
  );
  const other = dying === first ? second : first;
  const before = (await dying.journal()).blobBytes;
  // Its process ends: what is open is reset, what comes is refused.
  await dying.stop();

  const pulled = await pulling;
  expect(pulled.ok, `${pulled.said}\n${server.log()}`).toBe(true);
  expect(pulled.digests).toContain(image.digest);
  expect(await client.run?.('docker.io/library/large:1.0')).toBe(image.prints);
  const { blobGets, blobBytes } = await other.journal();
  expect(blobGets.get(image.largest.digest)).toBeGreaterThan(0);
  // What the dead one had brought is not fetched again, but for what was on its way when it died.
  expect(before).toBeGreaterThan(part);
  expect(before + blobBytes).toBeLessThan(1.1 * image.size);
});

async function temporary(context: TestContext): Promise<string> {
  const directory = await mkdtemp(path.join(tmpdir(), 'entrepot-takes-over-'));
  context.onTestFinished(() => rm(directory, { recursive: true, force: true }));
  return directory;
}

/** Starts a server whose docker.io has these upstreams, in this order. */
async function startServer(context: TestContext, directory: string, upstreams: readonly string[]) {
  const file = path.join(directory, 'config.yaml');
  const configuration = {
    listen: '127.0.0.1:0',
    storage: { path: path.join(directory, 'storage') },
    registries: { 'docker.io': { upstreams: upstreams.map((url) => ({ url, insecure: true })) } },
  };
  await writeFile(file, stringify(configuration));
  const main = path.join(import.meta.dirname, '../../src/main.ts');
  const daemon = startDaemon([process.execPath, main, 'serve', '--config', file]);
  context.onTestFinished(daemon.stop);
  const [line] = await daemon.waitFor(/^\{.*"msg":"listening".*\}$/m);
  return { address: `127.0.0.1:${(JSON.parse(line) as { port: number }).port}`, log: daemon.output };
}

async function startClient(context: TestContext, directory: string, server: string) {
  const own = path.join(directory, 'd28');
  await mkdir(own);
  const client = await startDockerd('d28', { directory: own, server });
  context.onTestFinished(client.stop);
  return client;
}

const types = {
  manifest: 'application/vnd.oci.image.manifest.v1+json',
  config: 'application/vnd.oci.image.config.v1+json',
  layer: 'application/vnd.oci.image.layer.v1.tar+gzip',
};

/** Builds a runnable image of about 300 MB and pushes it to a registry as `library/large:1.0`. */
async function pushLargeImage(registry: string) {
  const busybox = await readFile(programs.busybox);
  const contents = sizes.map((size, index) => seededBytes(`large/${index}`, size));
  const sum = createHash('sha256')
    .update(contents[0] ?? '')
    .digest('hex');
  const start = 'echo large $(sha256sum </opt/large-0)\n';
  const system: TarEntry[] = [
    ...['bin', 'etc', 'proc', 'sys', 'dev', 'tmp', 'opt'].map((each): TarEntry => {
      return { kind: 'directory', path: each };
    }),
    { kind: 'file', path: 'bin/busybox', mode: 0o755, bytes: busybox },
    ...['sh', 'echo', 'sha256sum'].map((name): TarEntry => {
      return { kind: 'symlink', path: `bin/${name}`, target: 'busybox' };
    }),
    { kind: 'file', path: 'start', mode: 0o644, bytes: Buffer.from(start) },
  ];
  const layers = [
    layerOf(system),
    ...contents.map((bytes, index) => {
      return layerOf([{ kind: 'file', path: `opt/large-${index}`, mode: 0o644, bytes }]);
    }),
  ];
  const config = manifestOf(
    {
      architecture: 'amd64',
      os: 'linux',
      config: { Cmd: ['/bin/sh', '/start'], Env: ['PATH=/bin'] },
      rootfs: { type: 'layers', diff_ids: layers.map(({ diffId }) => diffId) },
    },
    types.config,
  );
  const document = {
    schemaVersion: 2,
    mediaType: types.manifest,
    config: descriptorOf(config),
    layers: layers.map(descriptorOf),
  };
  const manifest = manifestOf(document, types.manifest);
  const blobs: readonly TestBlob[] = [config, ...layers];
  const repository = `${registry}/v2/library/large`;
  for (const blob of blobs) await pushBlob(repository, blob);
  await put(`${repository}/manifests/1.0`, manifest);
  const largest = blobs.reduce((one, other) => (other.bytes.length > one.bytes.length ? other : one));
  const size = blobs.reduce((total, { bytes }) => total + bytes.length, 0);
  return { digest: manifest.digest, largest, size, prints: `large ${sum} -` };
}

function layerOf(entries: readonly TarEntry[]): TestBlob & { readonly diffId: string } {
  const tar = packTar(entries);
  const diffId = `sha256:${createHash('sha256').update(tar).digest('hex')}`;
  return { ...blobOf(gzipSync(tar, { level: 1 }), types.layer), diffId };
}

async function pushBlob(repository: string, blob: TestBlob): Promise<void> {
  const begun = await fetch(`${repository}/blobs/uploads/`, { method: 'POST' });
  const location = new URL(begun.headers.get('location') ?? '', repository);
  location.searchParams.set('digest', blob.digest);
  await put(location.href, { ...blob, mediaType: 'application/octet-stream' });
}

async function put(url: string, { mediaType, bytes }: TestBlob): Promise<void> {
  const headers = { 'content-type': mediaType };
  const answer = await fetch(url, { method: 'PUT', headers, body: new Uint8Array(bytes) });
  if (answer.status !== 201) throw new Error(`PUT ${url}: ${answer.status} ${await answer.text()}`);
}
