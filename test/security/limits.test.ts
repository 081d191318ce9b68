import { describe, expect, it, onTestFinished } from 'vitest';
import { mediaTypes } from '../../src/oci/media-types.ts';
import { manifestPath, mustGet, repository } from '../helpers/cold-layer.ts';
import { control } from '../helpers/control.ts';
import { jsonAnswer } from '../helpers/fake-answer.ts';
import { FakeServer } from '../helpers/fake-server.ts';
import { startFakeUpstream } from '../helpers/fake-upstream.ts';
import { blobOf, descriptorOf, makeImage, manifestOf } from '../helpers/image.ts';
import { type Answer, ociError, outcome, request } from '../helpers/request.ts';
import { startProxy } from '../helpers/start-proxy.ts';

const tagsPath = `/v2/${repository}/tags/list`;
const longestPage = 10_000;

function tagsOf(answer: Answer): string[] {
  return (JSON.parse(answer.text) as { tags: string[] }).tags;
}

describe('CVE-2023-2253 (distribution): a huge n makes the server allocate a page of that size', () => {
  it('a page is no longer than the longest page, whatever n is, and says what follows', async () => {
    const upstream = await startFakeUpstream();
    const image = makeImage();
    const names = Array.from({ length: longestPage + 5 }, (_, n) => `v${String(n).padStart(6, '0')}`);
    upstream.add(repository, image, ...names);
    const proxy = await startProxy({ registries: { 'ghcr.io': upstream } });
    for (const n of ['999999999', '10001']) {
      const answer = await mustGet(proxy.url, `${tagsPath}?n=${n}`);
      expect(tagsOf(answer)).toHaveLength(longestPage);
      expect(answer.headers['link']).toContain(`last=${names[longestPage - 1]}`);
    }
    const rest = await mustGet(proxy.url, `${tagsPath}?n=999999999&last=${names[longestPage - 1]}`);
    expect(tagsOf(rest)).toEqual(names.slice(longestPage));
    expect(upstream.journal.filter({ kind: 'tags' }).map(({ query }) => Number(query['n']))).not.toContain(
      999999999,
    );
  });

  it.each(['-1', '1e9', '0x7fffffff', '9999999999', '2147483648000', '1.5', 'NaN', ' '])(
    'n=%s is refused without asking an upstream',
    async (n) => {
      const upstream = await startFakeUpstream();
      const proxy = await startProxy({ registries: { 'ghcr.io': upstream } });
      const answer = await request(proxy.url, `${tagsPath}?n=${encodeURIComponent(n)}`);
      expect(answer.status).toBeGreaterThanOrEqual(400);
      expect(answer.status).toBeLessThan(500);
      ociError(answer);
      expect(upstream.journal.count()).toBe(0);
    },
  );

  it('an upstream whose list never ends is left after a hundred pages', async () => {
    let page = 0;
    const server = await FakeServer.open((entry) => {
      if (entry.kind !== 'tags') return jsonAnswer(200, {});
      page += 1;
      const link = `</v2/${repository}/tags/list?n=1000&last=t${page}>; rel="next"`;
      return jsonAnswer(200, { name: repository, tags: [`t${page}`] }, { link });
    });
    onTestFinished(() => server.close());
    const proxy = await startProxy({ registries: { 'ghcr.io': { url: server.url } } });
    expect(outcome(await request(proxy.url, tagsPath))).toBe('503 UNAVAILABLE');
    expect(server.journal.count({ kind: 'tags' })).toBeLessThanOrEqual(100);
  });
});

describe('CVE-2017-11468 (distribution): a manifest of any size is read into memory', () => {
  const image = makeImage();
  const document = JSON.parse(image.manifest.bytes.toString()) as Record<string, unknown>;
  const { ociManifest, ociIndex } = mediaTypes;

  it.each([
    ['declares its length', {}],
    ['does not declare its length', { chunked: true }],
  ])('an upstream that sends too much and %s is cut off', async (_, framing) => {
    const manifestSize = 100_000;
    const upstream = await startFakeUpstream();
    const filling = 'x'.repeat(20_000_000);
    const large = manifestOf({ ...document, annotations: { filling } }, ociManifest);
    upstream.content.addManifest(repository, large, 'large');
    upstream.script({ match: { kind: 'manifest' }, ...framing });
    const proxy = await startProxy({ registries: { 'ghcr.io': upstream }, limits: { manifestSize } });
    for (const reference of ['large', large.digest]) {
      const answer = await request(proxy.url, manifestPath(reference));
      expect(answer.status).toBeGreaterThanOrEqual(400);
      expect(ociError(answer).message).toMatch(/longer than the 100000 bytes/);
    }
    const sent = await upstream.journal.reaches(({ kind, state }) => kind === 'manifest' && state === 'cut');
    expect(sent.bytes).toBeLessThan(filling.length);
  });

  it('a manifest of four megabytes is served: the specification asks for that', async () => {
    const upstream = await startFakeUpstream();
    const bare = manifestOf({ ...document, annotations: { filling: '' } }, ociManifest);
    const filling = 'x'.repeat(4 * 1024 * 1024 - bare.bytes.length);
    const large = manifestOf({ ...document, annotations: { filling } }, ociManifest);
    expect(large.bytes.length).toBe(4 * 1024 * 1024);
    upstream.content.addManifest(repository, large, 'large');
    const proxy = await startProxy({ registries: { 'ghcr.io': upstream } });
    expect((await mustGet(proxy.url, manifestPath('large'))).digest).toBe(large.digest);
  });

  it('a document with more children than any image has is refused', async () => {
    const upstream = await startFakeUpstream();
    const child = { ...descriptorOf(image.manifest), platform: { os: 'linux', architecture: 'amd64' } };
    const many = Array.from({ length: 2001 }, () => child);
    const index = manifestOf({ schemaVersion: 2, mediaType: ociIndex, manifests: many }, ociIndex);
    upstream.content.addManifest(repository, index, 'many');
    const proxy = await startProxy({ registries: { 'ghcr.io': upstream } });
    const answer = await request(proxy.url, manifestPath('many'));
    expect(answer.status).toBeGreaterThanOrEqual(400);
    expect(ociError(answer).message).toContain('more than 2000 entries');
  });

  it('indexes within indexes and values within values do not exhaust the server', async () => {
    const upstream = await startFakeUpstream();
    let inner = image.manifest;
    upstream.add(repository, image);
    for (let depth = 0; depth < 50; depth += 1) {
      inner = manifestOf(
        { schemaVersion: 2, mediaType: ociIndex, manifests: [descriptorOf(inner)], annotations: { depth } },
        ociIndex,
      );
      upstream.content.addManifest(repository, inner, ...(depth === 49 ? ['deep'] : []));
    }
    const nested = '['.repeat(200_000) + ']'.repeat(200_000);
    const bytes = Buffer.from(`{"schemaVersion":2,"mediaType":"${ociManifest}","config":${nested}}`);
    upstream.content.addManifest(repository, blobOf(bytes, ociManifest), 'nested');
    const policy = {
      default: 'deny' as const,
      rules: [{ images: ['**'], tags: ['deep', 'nested'], action: 'allow' as const }],
    };
    const proxy = await startProxy({ registries: { 'ghcr.io': upstream }, policy });
    expect((await request(proxy.url, manifestPath('nested'))).status).toBeGreaterThanOrEqual(400);
    let next = (await mustGet(proxy.url, manifestPath('deep'))).text;
    for (let depth = 0; depth < 50; depth += 1) {
      const { manifests } = JSON.parse(next) as { manifests: { digest: string }[] };
      next = (await mustGet(proxy.url, manifestPath(manifests[0]?.digest ?? ''))).text;
    }
    expect(JSON.parse(next)).toMatchObject({ layers: [{}, {}] });
    const status = await control(proxy, 'GET', `/images/ghcr.io/${repository}:deep`);
    expect(JSON.stringify(status.body)).toContain('indexes more than 8 deep');
    expect((await request(proxy.url, '/v2/')).status).toBe(200);
  });
});
