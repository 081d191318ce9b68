import { expect, test } from 'vitest';
import { blobPath, manifestPath, mustGet, repository, settled } from '../helpers/cold-layer.ts';
import { download } from '../helpers/download.ts';
import type { Fault } from '../helpers/fake-faults.ts';
import { makeBlob } from '../helpers/image.ts';
import { outcome, request } from '../helpers/request.ts';
import { patient, severalUpstreams, upstreamsWith } from '../helpers/several-upstreams.ts';
import { startProxy } from '../helpers/start-proxy.ts';

const large = 12_000_000;
const small = 3_000_000;

test.each([30, 60, 99] as const)(
  'the first upstream dies at %i percent of a blob and the client sees one uninterrupted right body',
  async (share) => {
    const { a, b, proxy, layer, path, downloads, bytes } = await severalUpstreams([large]);
    a.script({ match: downloads, dieAt: `${share}%` });
    const client = download(proxy.url, path, layer.bytes);
    expect(await client.ended).toBe('complete');
    expect(await client.headers).toBe(200);
    const sent = a.journal.blobBytes(layer.digest);
    expect(sent).toBe((large * share) / 100);
    expect(b.journal.filter(downloads)[0]?.headers.range).toMatch(new RegExp(`^bytes=${sent}-`));
    expect(bytes()).toBe(large);
  },
);

test('the first upstream stalls in the middle of a blob and the second goes on at the missing byte', async () => {
  const { a, b, proxy, layer, path, downloads, bytes } = await severalUpstreams([large], {
    configured: [{ stallTimeout: 300 }, patient],
  });
  const stall = a.script({ match: downloads, stallAt: '40%' });
  expect(await download(proxy.url, path, layer.bytes).ended).toBe('complete');
  expect(stall.hits).toBeGreaterThan(0);
  expect(b.journal.filter(downloads)[0]?.headers.range).toMatch(/^bytes=4800000-/);
  expect(bytes()).toBe(large);
});

test.each([
  ['the second upstream ignores', 'b'],
  ['both upstreams ignore', 'ab'],
] as const)('the hand-over succeeds although %s Range requests', async (_, without) => {
  const { a, b, proxy, layer, path, downloads } = await severalUpstreams([large]);
  if (without.includes('a')) a.script({ match: downloads, noRange: true });
  b.script({ match: downloads, noRange: true });
  a.script({ match: downloads, dieAt: '30%' });
  expect(await download(proxy.url, path, layer.bytes).ended).toBe('complete');
  expect(a.journal.blobBytes(layer.digest)).toBe(large * 0.3);
  expect(b.journal.blobBytes(layer.digest)).toBe(large);
});

test.each<[string, Fault]>([
  [
    'an HTML page with status 200',
    { body: '<html>please log in</html>', headers: { 'content-type': 'text/html' }, noRange: true },
  ],
  ['a body with status 200 that is shorter', { truncateTo: '90%' }],
  ['a shorter body of undeclared length', { truncateTo: '90%', chunked: true }],
  ['a body that is longer', { body: Buffer.alloc(large + 1) }],
  ['a 404', { status: 404 }],
  ['a 403', { status: 403 }],
  ['a 500', { status: 500 }],
  ['a redirect into nowhere', { redirectTo: 'http://127.0.0.1:9/gone' }],
  ['a reset', { reset: true }],
])('the first upstream answers a blob with %s and the client gets it from the second', async (_, fault) => {
  const { a, b, proxy, layer, path, downloads } = await severalUpstreams([large]);
  const script = a.script({ match: downloads, ...fault });
  const answer = await request(proxy.url, path);
  expect(answer).toMatchObject({ status: 200, digest: layer.digest, complete: true });
  expect(script.hits).toBeGreaterThan(0);
  expect(b.journal.count(downloads)).toBeGreaterThan(0);
});

test('an HTML page does not settle the size of a blob that no manifest names', async () => {
  const { all, a, proxy } = await severalUpstreams([10]);
  const blob = makeBlob('in no manifest', large);
  for (const upstream of all) upstream.content.addBlob(repository, blob);
  const match = { method: 'GET', kind: 'blob', reference: blob.digest } as const;
  a.script({ match, body: '<html></html>', headers: { 'content-type': 'text/html' }, noRange: true });
  expect(await download(proxy.url, blobPath(blob.digest), blob.bytes).ended).toBe('complete');
});

test('the first upstream answers a manifest with an HTML page and the client gets it from the second', async () => {
  const { a, b, image, registries } = await upstreamsWith([10]);
  const page = { body: '<html></html>', headers: { 'content-type': 'text/html' } };
  const script = a.script({ match: { kind: 'manifest' }, ...page });
  const proxy = await startProxy({ registries });
  const answer = await mustGet(proxy.url, manifestPath('v1'));
  expect(answer.digest).toBe(image.manifest.digest);
  expect(answer.headers['x-upstream']).toBe(b.host);
  expect(script.hits).toBeGreaterThan(0);
});

test('a small blob whose halves came from two upstreams and do not fit is fetched again from one of them', async () => {
  const { a, b, proxy, layer, path, downloads } = await severalUpstreams([small]);
  a.script({ match: downloads, corruptAt: '10%', dieAt: '50%' });
  expect(await download(proxy.url, path, layer.bytes).ended).toBe('complete');
  const last = b.journal.filter(downloads).at(-1);
  expect(last?.headers.range).toBeUndefined();
  expect(last?.bytes).toBe(small);
});

test('an upstream that failed for a blob is not the one that the client is told of', async () => {
  const { a, b, proxy, path, downloads } = await severalUpstreams([small]);
  a.script({ match: downloads, status: 500 });
  const answer = await request(proxy.url, path);
  expect(outcome(answer)).toBe('200');
  expect(answer.headers['x-upstream']).toBe(b.host);
  await settled(proxy, path);
});
