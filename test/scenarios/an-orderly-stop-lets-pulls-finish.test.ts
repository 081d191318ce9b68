import http from 'node:http';
import { buffer } from 'node:stream/consumers';
import { expect, onTestFinished, test } from 'vitest';
import { blobPath, coldLayer, manifestPath, mustGet, repository } from '../helpers/cold-layer.ts';
import { download } from '../helpers/download.ts';
import { startFakeUpstream } from '../helpers/fake-upstream.ts';
import { makeBlob, makeImage } from '../helpers/image.ts';
import type { ConfigOptions } from '../helpers/proxy-config.ts';
import { request } from '../helpers/request.ts';
import { startProxyProcess } from '../helpers/start-proxy-process.ts';

async function processScene(size: number, server: ConfigOptions['server'] = {}) {
  const upstream = await startFakeUpstream();
  const image = makeImage({ layers: [size] });
  upstream.add(repository, image, 'v1');
  const proxy = await startProxyProcess({ registries: { 'ghcr.io': upstream }, server });
  await mustGet(proxy.url, manifestPath('v1'));
  const layer = image.layers[0] ?? makeBlob('', 0);
  return { upstream, proxy, layer, path: blobPath(layer.digest) };
}

test.each(['SIGTERM', 'SIGINT'] as const)(
  '%s lets a running pull finish, takes no new ones, and exits with 0',
  async (signal) => {
    const { upstream, proxy, layer, path } = await processScene(12_000_000);
    const stall = upstream.script({ match: { kind: 'blob' }, stallAt: 8_000_000 });
    const client = download(proxy.url, path, layer.bytes);
    await stall.reached();
    await client.received(6_000_000);
    proxy.signal(signal);
    await refused(proxy.url);
    stall.release();
    expect(await client.ended).toBe('complete');
    expect(await proxy.ended()).toBe(0);
  },
);

/** Settles once the server takes no connections any more. */
async function refused(url: string): Promise<void> {
  while ((await ready(url)) !== 'refused');
}

/** What whoever sends requests learns of the server. */
async function ready(url: string): Promise<number | 'refused'> {
  return request(url, '/readyz').then(
    (answer) => answer.status,
    () => 'refused' as const,
  );
}

test('with a drain delay it serves new connections while it says that it is not ready, until a second signal', async () => {
  const { upstream, proxy, layer, path } = await processScene(12_000_000, { drainDelay: 3_600_000 });
  proxy.signal('SIGTERM');
  while ((await ready(proxy.url)) === 200);
  expect(await ready(proxy.url)).toBe(503);
  expect((await request(proxy.url, '/livez')).status).toBe(200);
  const stall = upstream.script({ match: { kind: 'blob' }, stallAt: 8_000_000 });
  const client = download(proxy.url, path, layer.bytes);
  await stall.reached();
  expect(await ready(proxy.url)).toBe(503);
  proxy.signal('SIGTERM');
  await refused(proxy.url);
  stall.release();
  expect(await client.ended).toBe('complete');
  expect(await proxy.ended()).toBe(0);
});

test('a signal while it drains ends it at once, drain delay or not', async () => {
  const { upstream, proxy, layer, path } = await processScene(12_000_000, {
    drainDelay: 3_600_000,
    drainTimeout: 3_600_000,
  });
  const stall = upstream.script({ match: { kind: 'blob' }, stallAt: 8_000_000 });
  const client = download(proxy.url, path, layer.bytes);
  await stall.reached();
  proxy.signal('SIGINT');
  while ((await ready(proxy.url)) === 200);
  proxy.signal('SIGINT');
  await refused(proxy.url);
  proxy.signal('SIGINT');
  expect(await proxy.ended()).toBe(1);
  expect(await client.ended).toBe('cut');
});

test('a drain delay that has passed ends in the usual stop', async () => {
  const { proxy } = await processScene(10, { drainDelay: 50 });
  expect(await proxy.kill('SIGTERM')).toBe(0);
});

test('without anything to do it stops at once', async () => {
  const { proxy } = await processScene(10);
  expect(await proxy.kill('SIGTERM')).toBe(0);
});

test('a connection that its client would keep does not hold the stop up', async () => {
  const { upstream, proxy, layer, path, downloads } = await coldLayer(12_000_000, {
    server: { drainTimeout: 3_600_000 },
    allowFills: true,
  });
  const stall = upstream.script({ match: downloads, stallAt: 8_000_000 });
  const agent = new http.Agent({ keepAlive: true });
  onTestFinished(() => agent.destroy());
  const answer = await new Promise<http.IncomingMessage>((resolve, reject) => {
    http.get(`${proxy.url}${path}`, { agent }, resolve).on('error', reject);
  });
  await stall.reached();
  const closed = proxy.close();
  stall.release();
  const received = await buffer(answer);
  expect(received.length).toBe(layer.bytes.length);
  await closed;
});

test('a pull that takes longer than the drain time is cut, and the rest is kept for the next start', async () => {
  const { upstream, proxy, layer, path, downloads } = await coldLayer(12_000_000, {
    server: { drainTimeout: 200 },
    allowFills: true,
  });
  const stall = upstream.script({ match: downloads, stallAt: 8_000_000 });
  const client = download(proxy.url, path, layer.bytes);
  await stall.reached();
  await client.received(1_000_000);
  await proxy.close();
  expect(await client.ended).toBe('cut');
  // The bytes, and the map of which they are.
  expect(proxy.files().fills.filter((file) => !file.endsWith('.map'))).toHaveLength(1);
});

test('its log is one JSON object a line, ends with the stop, and holds one line a request', async () => {
  const { proxy } = await processScene(10);
  await request(proxy.url, manifestPath('v1'));
  await proxy.kill('SIGTERM');
  const lines = proxy.output.map((line) => JSON.parse(line) as { msg: string; route?: string });
  expect(lines.filter((line) => line.msg === 'request')).toHaveLength(2);
});
