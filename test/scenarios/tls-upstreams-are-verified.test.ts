import { expect, test } from 'vitest';
import { blobPath, manifestPath, mustGet, repository } from '../helpers/cold-layer.ts';
import { download } from '../helpers/download.ts';
import { type FakeUpstream, startFakeUpstream } from '../helpers/fake-upstream.ts';
import { makeBlob, makeImage } from '../helpers/image.ts';
import { outcome, request } from '../helpers/request.ts';
import { startProxy } from '../helpers/start-proxy.ts';
import { localhostTls, otherTls } from '../upstream/tls-fixture.ts';

const image = makeImage({ layers: [6_000_000] });
const layer = image.layers[0] ?? makeBlob('', 0);
const username = 'ann';
const password = 'secret';

async function tlsUpstream(tls: typeof localhostTls): Promise<FakeUpstream> {
  const upstream = await startFakeUpstream({ tls, auth: { kind: 'basic', username, password } });
  upstream.add(repository, image, 'v1');
  return upstream;
}

test('an image is pulled over TLS from an upstream with a private authority, and resumed when cut', async () => {
  const upstream = await tlsUpstream(localhostTls);
  const { url } = upstream;
  const proxy = await startProxy({
    registries: { 'ghcr.io': { url, username, password, ca: localhostTls.cert } },
  });
  await mustGet(proxy.url, manifestPath('v1'));
  upstream.script({ match: { kind: 'blob', method: 'GET' }, cutAt: 2_000_000, times: 1 });
  expect(await download(proxy.url, blobPath(layer.digest), layer.bytes).ended).toBe('complete');
  expect(upstream.journal.blobBytes(layer.digest)).toBe(6_000_000);
});

test.each([
  ['of an unknown authority', localhostTls, undefined],
  ['for another name', otherTls, otherTls.cert],
])('an upstream with a certificate %s is refused before it learns anything', async (_, tls, ca) => {
  const upstream = await tlsUpstream(tls);
  const { url } = upstream;
  const proxy = await startProxy({
    registries: { 'ghcr.io': { url, username, password, ...(ca && { ca }) } },
  });
  for (const path of [manifestPath('v1'), blobPath(layer.digest)]) {
    const answer = await request(proxy.url, path);
    expect(outcome(answer)).toBe('503 UNAVAILABLE');
    expect(answer.text).toMatch(/certificate|TLS|altnames/i);
  }
  expect(upstream.journal.count()).toBe(0);
});

test('content is not fetched from a TLS upstream by way of a redirect to plain http', async () => {
  const plain = await startFakeUpstream();
  plain.add(repository, image, 'v1');
  const upstream = await tlsUpstream(localhostTls);
  const { url } = upstream;
  const proxy = await startProxy({
    registries: { 'ghcr.io': { url, username, password, ca: localhostTls.cert } },
  });
  await mustGet(proxy.url, manifestPath('v1'));
  upstream.script({ match: { kind: 'blob' }, redirectTo: `${plain.url}${blobPath(layer.digest)}` });
  expect(outcome(await request(proxy.url, blobPath(layer.digest)))).toBe('503 UNAVAILABLE');
  expect(plain.journal.count()).toBe(0);
});
