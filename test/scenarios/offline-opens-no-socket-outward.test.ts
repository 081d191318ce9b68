import { createServer } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { connectAdmin } from '../../src/cli/admin/admin-client.ts';
import { neverAborted } from '../../src/lib/abort.ts';
import { mediaTypes } from '../../src/oci/media-types.ts';
import { blobPath, manifestPath, mustGet, repository, settled } from '../helpers/cold-layer.ts';
import { startFakeUpstream } from '../helpers/fake-upstream.ts';
import { blobsOf, makeArtifact, makeImage, makeIndex } from '../helpers/image.ts';
import { makeManualClock } from '../helpers/manual-clock.ts';
import { makeConfig } from '../helpers/proxy-config.ts';
import { pull } from '../helpers/pull.ts';
import { ociError, request } from '../helpers/request.ts';
import { startProxy } from '../helpers/start-proxy.ts';

const index = makeIndex({ layers: [20_000, 10_000] });
const [amd64, arm64] = index.images;
if (!amd64 || !arm64) throw new Error('the index has two images');
const half = makeImage({ seed: 'half', layers: [1_000] });
const sbom = makeArtifact(index.manifest);
const year = 365 * 24 * 3_600_000;

/** A listener that nobody should ever connect to. */
async function tripwire() {
  let connections = 0;
  const server = createServer((socket) => {
    connections += 1;
    socket.destroy();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => void server.close());
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('it listens on a port');
  return { url: `http://127.0.0.1:${address.port}`, connections: () => connections };
}

/** A mirror that held one platform of an image, part of another and an SBOM, and is offline a year later. */
async function scene() {
  const source = await startFakeUpstream();
  source.add(repository, index, 'v1', 'v1.0');
  source.add(repository, half, 'half');
  source.add(repository, sbom);
  const clock = makeManualClock();
  const online = await startProxy({ registries: { 'ghcr.io': source }, clock });
  await pull(online.url, { repository, reference: 'v1' });
  await mustGet(online.url, manifestPath('half'));
  await mustGet(online.url, manifestPath(sbom.manifest.digest));
  for (const blob of blobsOf(sbom)) await mustGet(online.url, blobPath(blob.digest));
  for (const blob of [...blobsOf(amd64 ?? half), ...blobsOf(sbom)]) {
    await settled(online, blobPath(blob.digest));
  }
  await online.close();
  source.journal.clear();
  clock.advance(year);
  const wire = await tripwire();
  const options = {
    registries: { 'ghcr.io': [{ url: source.url }, { url: wire.url }], 'quay.io': { url: wire.url } },
    sync: [{ image: `ghcr.io/${repository}`, newest: 1, schedule: '* * * * *' }],
    prefetch: true,
    offline: true,
    clock,
    storagePath: online.storagePath,
  };
  const proxy = await startProxy(options);
  const silence = () => {
    expect(source.journal.entries).toEqual([]);
    expect(wire.connections()).toBe(0);
  };
  return { proxy, silence, options };
}

test('what is stored is served as it was, however old', async () => {
  const { proxy, silence } = await scene();
  for (const client of ['docker', 'containerd', 'podman'] as const) {
    const pulled = await pull(proxy.url, { repository, reference: 'v1', client });
    expect(pulled.digest).toBe(index.manifest.digest);
    expect(new Set(pulled.outcomes.filter((outcome) => outcome !== ''))).toEqual(new Set(['hit']));
  }
  expect((await request(proxy.url, '/readyz')).status).toBe(200);
  silence();
});

test('what is absent is 404, and the message names the bundle that would bring it', async () => {
  const { proxy, silence } = await scene();
  const image = `ghcr.io/${repository}`;
  const absent = [
    [manifestPath('v2'), 'MANIFEST_UNKNOWN', `${image}:v2`, `${image}:v2`],
    [
      manifestPath(arm64.manifest.digest),
      'MANIFEST_UNKNOWN',
      `the linux/arm64 image of ${image}:v1`,
      `${image}:v1`,
    ],
    [
      manifestPath(`sha256:${'e'.repeat(64)}`),
      'MANIFEST_UNKNOWN',
      `@sha256:${'e'.repeat(64)}`,
      `${image}@sha256:${'e'.repeat(64)}`,
    ],
    [blobPath(half.config.digest), 'BLOB_UNKNOWN', `of ${image}:half`, `${image}:half`],
    [blobPath(`sha256:${'e'.repeat(64)}`), 'BLOB_UNKNOWN', `of ${image} is not`, image],
    ['/v2/org/none/tags/list', 'NAME_UNKNOWN', 'nothing of ghcr.io/org/none', 'ghcr.io/org/none:TAG'],
    ['/v2/quay.io/org/app/manifests/v1', 'MANIFEST_UNKNOWN', 'quay.io/org/app:v1', 'quay.io/org/app:v1'],
  ] as const;
  for (const [path, code, what, bundle] of absent) {
    const answer = await request(proxy.url, path);
    expect(answer.status, path).toBe(404);
    const error = ociError(answer);
    expect(error.code, path).toBe(code);
    expect(error.message).toContain('this mirror is offline');
    expect(error.message).toContain(what);
    expect(error.message).toContain(`"entrepot export ${bundle} -o bundle.tar"`);
    expect((await request(proxy.url, path, { method: 'HEAD' })).status, path).toBe(404);
  }
  silence();
});

test('listings are of what is stored', async () => {
  const { proxy, silence } = await scene();
  const tags = async (query: string) =>
    JSON.parse((await mustGet(proxy.url, `/v2/${repository}/tags/list${query}`)).text) as { tags: string[] };
  expect((await tags('')).tags).toEqual(['half', 'v1']);
  expect((await tags('?n=1&last=half')).tags).toEqual(['v1']);
  const referrers = async (digest: string, query = '') => {
    const answer = await mustGet(proxy.url, `/v2/${repository}/referrers/${digest}${query}`);
    expect(answer.headers['content-type']).toBe(mediaTypes.ociIndex);
    return (JSON.parse(answer.text) as { manifests: object[] }).manifests;
  };
  const { digest, mediaType, bytes } = sbom.manifest;
  const artifactType = 'application/vnd.example.sbom+json';
  const listed = { digest, mediaType, size: bytes.length, artifactType };
  expect(await referrers(index.manifest.digest)).toEqual([listed]);
  expect(await referrers(index.manifest.digest, `?artifactType=${encodeURIComponent(artifactType)}`)).toEqual(
    [listed],
  );
  expect(await referrers(index.manifest.digest, '?artifactType=text/x')).toEqual([]);
  expect(await referrers(amd64.manifest.digest)).toEqual([]);
  silence();
});

test('work that consists of asking upstreams is refused, and its schedule rests', async () => {
  const { proxy, silence, options } = await scene();
  const admin = await connectAdmin(makeConfig(proxy.storagePath, options));
  onTestFinished(() => admin.close());
  const call = (method: 'GET' | 'POST', path: string, body?: object) =>
    admin.call({ method, path, ...(body && { body }) }, neverAborted);
  const lines: unknown[] = [];
  const refused = async () => {
    for await (const line of admin.stream({ method: 'POST', path: '/api/v1/sync', body: {} }, neverAborted)) {
      lines.push(line);
    }
  };
  await expect(refused()).rejects.toMatchObject({
    code: 'UNSUPPORTED',
    message: expect.stringContaining('this mirror is offline'),
  });
  expect(lines).toEqual([]);
  const { entries } = (await call('GET', '/api/v1/sync')) as { entries: { next?: string; last?: object }[] };
  expect(entries).toEqual([expect.not.objectContaining({ next: expect.anything() })]);
  // What a tag names now is what is stored.
  expect(await call('POST', '/api/v1/lock', { images: [`ghcr.io/${repository}:v1`] })).toMatchObject({
    images: [{ digest: index.manifest.digest }],
  });
  silence();
});
