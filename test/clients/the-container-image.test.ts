import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, inject, type TestContext, test } from 'vitest';
import {
  type BuildMaterial,
  buildImage,
  inImage,
  makeBuildMaterial,
  startContainer,
} from './container-image.ts';
import { openCrane } from './crane.ts';
import { type DockerEngine, type DockerKey, startDockerEngine } from './docker-engine.ts';
import { largestBlob } from './images.ts';
import { startUpstream, type Upstream } from './upstream.ts';

const { app, multi } = inject('images');

let shared: string;
let material: BuildMaterial;

beforeAll(async () => {
  shared = await mkdtemp(path.join(tmpdir(), 'entrepot-image-'));
  material = await makeBuildMaterial(shared);
});

afterAll(() => rm(shared, { recursive: true }));

describe.concurrent('the image of the Dockerfile', () => {
  test.for(['d20', 'd28'] as const)(
    'built by %s holds what the server needs, serves, stops, and serves again from its volume',
    async (key, context) => {
      const { engine, directory, upstream } = await openEngine(context, key);
      await buildImage(engine, material);
      expect(await inImage(engine, 'ls -A /app')).toBe('LICENSE\ndist\nnode_modules\npackage.json\nstorage');
      expect(await inImage(engine, 'cd /app/node_modules; ls -d typescript vitest node || true')).toBe('');
      expect(await inImage(engine, 'ls -A /root /home/node')).not.toMatch(/npm/);

      const port = await freePort();
      const place = { directory, port, upstream: upstream.url };
      const first = await startContainer(engine, { ...place, name: 'first' });
      context.onTestFailed(() => console.error(`== first container ==\n${first.log()}`));
      await first.healthy();
      expect(await first.exec('id', '--user', '--name')).toBe('node');
      const crane = await openCrane({ directory, server: `127.0.0.1:${port}` });
      const pulled = await crane.pull(multi.reference);
      expect(pulled.ok, pulled.said).toBe(true);
      expect(pulled.digests).toContain(multi.digest);
      await crane.remove(multi.reference);

      // A download under way is served to its end while docker waits, and then the server leaves by itself.
      const [large, size] = largestBlob(app);
      const repository = `http://127.0.0.1:${port}/v2/docker.io/library/app`;
      expect((await fetch(`${repository}/manifests/1.0`)).status).toBe(200);
      await upstream.throttle(20_000_000);
      const download = digestOf(`${repository}/blobs/${large}`);
      await upstream.reached(large, size / 2);
      const [exitCode, digest] = await Promise.all([first.stop(), download]);
      expect(digest).toBe(large);
      expect(exitCode).toBe(0);
      expect(first.log()).toMatch(/"msg":"draining".*"msg":"stopped"/s);

      await upstream.goAway();
      const second = await startContainer(engine, { ...place, name: 'second' });
      context.onTestFailed(() => console.error(`== second container ==\n${second.log()}`));
      const again = await crane.pull(multi.reference);
      expect(again.ok, again.said).toBe(true);
      expect(again.digests).toContain(multi.digest);
      expect(await digestOf(`${repository}/blobs/${large}`)).toBe(large);
      expect(await second.stop()).toBe(0);
      expect((await upstream.journal()).attempts).toBe(0);
    },
  );
});

async function openEngine(
  context: TestContext,
  key: DockerKey,
): Promise<{ engine: DockerEngine; directory: string; upstream: Upstream }> {
  const directory = await mkdtemp(path.join(tmpdir(), 'entrepot-clients-'));
  context.onTestFinished(() => rm(directory, { recursive: true, force: true }));
  const upstream = await startUpstream(inject('registryPorts').dockerHub);
  context.onTestFinished(upstream.stop);
  const own = path.join(directory, key);
  await mkdir(own);
  const engine = await startDockerEngine(key, own);
  context.onTestFinished(engine.stop);
  return { engine, directory, upstream };
}

/** The digest of a response's whole body. */
async function digestOf(url: string): Promise<string> {
  const response = await fetch(url);
  const hash = createHash('sha256');
  for await (const piece of response.body ?? []) hash.update(piece);
  return `sha256:${hash.digest('hex')}`;
}

/** A port that nobody listens on: the container's health check must know it before the server does. */
async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === 'string') throw new Error('no port');
  return address.port;
}
