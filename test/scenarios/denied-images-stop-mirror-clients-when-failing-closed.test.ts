import { expect, test } from 'vitest';
import { blobPath, manifestPath, mustGet, repository } from '../helpers/cold-layer.ts';
import { startFakeUpstream } from '../helpers/fake-upstream.ts';
import { digestOf, makeImage } from '../helpers/image.ts';
import { metric } from '../helpers/metrics.ts';
import { type ClientKind, pull } from '../helpers/pull.ts';
import { ociError, outcome, request } from '../helpers/request.ts';
import { startProxy } from '../helpers/start-proxy.ts';

const image = makeImage();
const reason = 'Floating tags are not served: pin a version';
const podman = { 'user-agent': 'containers/5.28.2 (github.com/containers/image)' };

async function scene(failClosed = true, digests: 'provenance' | 'allow' = 'provenance') {
  const upstream = await startFakeUpstream();
  upstream.add(repository, image, 'v1', 'latest');
  upstream.add('org/other', image, 'latest');
  const proxy = await startProxy({
    registries: { 'ghcr.io': { upstreams: [upstream], hosts: ['ghcr.mirror.corp'] } },
    policy: { rules: [{ images: ['**'], tags: ['latest'], action: 'deny', reason }], failClosed, digests },
  });
  return { upstream, proxy };
}

type Form = { base?: string; name?: string; ns?: string; headers?: Record<string, string> };

/** How clients that use a mirror ask, and what they send. */
const mirrorForms: readonly (readonly [string, Form])[] = [
  ['dockerd: the bare name', {}],
  ['dockerd: a mirror path', { base: '/ghcr.io' }],
  ['containerd: ns', { ns: 'ghcr.io' }],
  ['containerd: ns and a prefix', { name: `ghcr.io/${repository}`, ns: 'ghcr.io' }],
  ['podman: a prefix', { name: `ghcr.io/${repository}`, headers: podman }],
  ['a host of its own', { headers: { host: 'ghcr.mirror.corp' } }],
];

function asker(url: string, { base = '', name = repository, ns, headers = {} }: Form) {
  const query = ns === undefined ? '' : `?ns=${ns}`;
  return {
    manifest: (reference: string, method = 'GET') =>
      request(url, `${base}${manifestPath(reference, name)}${query}`, { method, headers }),
    blob: (digest: string, method = 'GET') =>
      request(url, `${base}${blobPath(digest, name)}${query}`, { method, headers }),
  };
}

test.each(mirrorForms)(
  '%s: the client gets a manifest that it cannot run, by tag and by digest, and no config',
  async (_how, form) => {
    const { upstream, proxy } = await scene();
    const ask = asker(proxy.url, form);
    const head = await ask.manifest('latest', 'HEAD');
    expect(head.status).toBe(200);
    const digest = String(head.headers['docker-content-digest']);
    for (const reference of ['latest', digest]) {
      const answer = await ask.manifest(reference);
      expect(answer).toMatchObject({ status: 200, digest, complete: true });
      expect(answer.headers).toMatchObject({
        'docker-content-digest': digest,
        'content-type': head.headers['content-type'],
        'cache-control': 'no-store',
      });
      expect(answer.text).toContain(reason);
      const { config, layers } = JSON.parse(answer.text) as { config: Descriptor; layers: unknown[] };
      expect(layers).toEqual([]);
      expect(config.mediaType).not.toMatch(/image/);
      const blob = await ask.blob(config.digest);
      expect(outcome(blob)).toBe('403 DENIED');
      expect(ociError(blob).message).toContain(reason);
      expect((await ask.blob(config.digest, 'HEAD')).status).toBe(403);
    }
    expect(digest).not.toBe(image.manifest.digest);
    expect(upstream.journal.count()).toBe(0);
  },
);

type Descriptor = { mediaType: string; digest: string };

const clients: readonly [ClientKind, { base?: string; ns?: string; headers?: Record<string, string> }][] = [
  ['docker', {}],
  ['containerd', { ns: 'ghcr.io' }],
  ['podman', { headers: podman }],
];

test.each(clients)('a %s pull ends at the config, and never asks upstream', async (client, how) => {
  const { upstream, proxy } = await scene();
  const name = client === 'podman' ? `ghcr.io/${repository}` : repository;
  const pulled = pull(proxy.url, { repository: name, reference: 'latest', client, ...how });
  await expect(pulled).rejects.toThrow(/blobs\/sha256:.*403.*DENIED.*pin a version/);
  expect(upstream.journal.count()).toBe(0);
});

test('the config says why where digests are not judged, and nobody is asked for it', async () => {
  const { upstream, proxy } = await scene(true, 'allow');
  const { config } = JSON.parse((await mustGet(proxy.url, manifestPath('latest'))).text) as {
    config: Descriptor;
  };
  const answer = await request(proxy.url, blobPath(config.digest));
  expect(outcome(answer)).toBe('403 DENIED');
  expect(ociError(answer).message).toContain(reason);
  expect(upstream.journal.count()).toBe(0);
});

test('whoever asks this server by name is told 403 and why: there is nobody else to ask', async () => {
  const { proxy } = await scene();
  const answer = await request(proxy.url, manifestPath('latest', `ghcr.io/${repository}`));
  expect(outcome(answer)).toBe('403 DENIED');
  expect(ociError(answer).message).toContain(reason);
});

test('what the denied image really is made of is 403, by manifest digest and blob', async () => {
  const { proxy, upstream } = await scene();
  await mustGet(proxy.url, manifestPath('latest'));
  for (const path of [manifestPath(image.manifest.digest), blobPath(image.layers[0]?.digest ?? '')]) {
    expect(outcome(await request(proxy.url, path)), path).toBe('403 DENIED');
  }
  expect(upstream.journal.count()).toBe(0);
});

test('the stand-in belongs to the image that was denied, and is gone after a restart', async () => {
  const { proxy } = await scene();
  const { digest } = await mustGet(proxy.url, manifestPath('latest'));
  expect(outcome(await request(proxy.url, manifestPath(digest, 'org/other')))).toBe('403 DENIED');
  await mustGet(proxy.url, manifestPath(digest));
  await proxy.restart();
  expect(outcome(await request(proxy.url, manifestPath(digest)))).toBe('403 DENIED');
});

test('what is allowed is served as ever, and a denial is a denial in log and metrics', async () => {
  const { proxy } = await scene();
  expect((await pull(proxy.url, { repository, reference: 'v1' })).digest).toBe(image.manifest.digest);
  const answer = await mustGet(proxy.url, manifestPath('latest'));
  expect(digestOf(answer.body)).toBe(answer.digest);
  expect(await metric(proxy.url, 'entrepot_denied_total', 'registry="ghcr.io"', 'route="manifest"')).toBe(1);
  const line = proxy.logs.lines.findLast(({ fields }) => fields['reference'] === 'latest');
  expect(line?.fields).toMatchObject({ error: 'DENIED', because: expect.stringContaining(reason) });
});

test('a denied signature is 403: nobody runs signatures', async () => {
  const { proxy } = await scene();
  const signature = `${image.manifest.digest.replace(':', '-')}.sig`;
  expect(outcome(await request(proxy.url, manifestPath(signature)))).toBe('403 DENIED');
});

test('without failClosed every client is told 403', async () => {
  const { proxy } = await scene(false);
  for (const [how, form] of mirrorForms) {
    expect(outcome(await asker(proxy.url, form).manifest('latest')), how).toBe('403 DENIED');
  }
});
