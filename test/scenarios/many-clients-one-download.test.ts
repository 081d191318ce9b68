import { expect, test } from 'vitest';
import { coldLayer, repository, settled, warm } from '../helpers/cold-layer.ts';
import { type Download, download } from '../helpers/download.ts';
import { within } from '../helpers/gate.ts';
import { descriptorOf, makeImage, manifestOf } from '../helpers/image.ts';
import { openFilesUnder } from '../helpers/leaks.ts';
import { patience } from '../helpers/patience.ts';
import { pull } from '../helpers/pull.ts';
import { request } from '../helpers/request.ts';

const megabyte = 1_000_000;

test('32 clients that pull one cold 100 MB blob at once cost exactly one download and all get it right', async () => {
  const { upstream, proxy, layer, path, downloads } = await coldLayer(100 * megabyte, {
    // On a busy machine this takes long enough for a second connection to be tried.
    configured: { maxConnections: 1 },
  });
  const clients = Array.from({ length: 32 }, () => download(proxy.url, path, layer.bytes));
  const results = await Promise.all(clients.map((client) => client.ended));
  expect(new Set(results)).toEqual(new Set(['complete']));
  expect(upstream.journal.count(downloads)).toBe(1);
  expect(upstream.journal.blobBytes(layer.digest)).toBe(100 * megabyte);
  await settled(proxy, path);
  expect(proxy.files().fills).toEqual([]);
});

test('a client that joins midway gets all bytes, those that came before it included, from the same download', async () => {
  const { upstream, proxy, layer, path, downloads } = await coldLayer(12 * megabyte);
  const stall = upstream.script({ match: downloads, stallAt: 8 * megabyte });
  const first = request(proxy.url, path);
  await stall.reached();
  const joined = download(proxy.url, path, layer.bytes);
  // The second client is served from what is there before the rest has arrived.
  await joined.received(6 * megabyte);
  stall.release();
  expect(await joined.ended).toBe('complete');
  expect((await first).digest).toBe(layer.digest);
  expect(upstream.journal.count(downloads)).toBe(1);
  expect(joined.cache).toBe('joined');
});

test('when all clients leave midway the download goes on, and the next pull is a hit', async () => {
  const { upstream, proxy, layer, path, downloads } = await coldLayer(12 * megabyte);
  const stall = upstream.script({ match: downloads, stallAt: 8 * megabyte });
  const leavers: Download[] = [1, 2, 3].map(() => download(proxy.url, path, layer.bytes));
  await stall.reached();
  for (const leaver of leavers) {
    await leaver.received(6 * megabyte);
    leaver.leave();
  }
  await Promise.all(leavers.map((leaver) => leaver.ended));
  // The server has to have noticed that nobody is left, or else this would not be about that.
  const noticed = () => proxy.logs.lines.filter(({ fields }) => fields['aborted'] === true).length;
  await expect.poll(noticed).toBe(3);
  stall.release();
  await upstream.journal.wait({ ...downloads, state: 'done' });
  await settled(proxy, path);
  await upstream.refuse();
  const again = await request(proxy.url, path);
  expect(again).toMatchObject({ status: 200, digest: layer.digest });
  expect(upstream.journal.count(downloads)).toBe(1);
});

test('a client that leaves does not disturb the one that stays', async () => {
  const { upstream, proxy, layer, path, downloads } = await coldLayer(12 * megabyte);
  const stall = upstream.script({ match: downloads, stallAt: 8 * megabyte });
  const leaver = download(proxy.url, path, layer.bytes);
  const stayer = download(proxy.url, path, layer.bytes);
  await stall.reached();
  await leaver.received(6 * megabyte);
  leaver.leave();
  await leaver.ended;
  stall.release();
  expect(await stayer.ended).toBe('complete');
  expect(upstream.journal.count(downloads)).toBe(1);
});

test('a client that does not read slows neither the download nor the others', async () => {
  const { proxy, layer, path } = await coldLayer(30 * megabyte);
  const idle = download(proxy.url, path, layer.bytes, { reading: false });
  await idle.headers;
  const reader = download(proxy.url, path, layer.bytes);
  expect(await within(reader.ended, 'the client that reads to be done')).toBe('complete');
  idle.read();
  expect(await idle.ended).toBe('complete');
});

test('a blob that several images share is downloaded once', async () => {
  const { upstream, proxy, image, layer, path, downloads } = await coldLayer(megabyte);
  const other = makeImage({ seed: 'other', layers: [megabyte] });
  const shared = { ...image, config: other.config };
  const document = { ...JSON.parse(image.manifest.bytes.toString()), config: descriptorOf(other.config) };
  const manifest = manifestOf(document, image.manifest.mediaType);
  upstream.add(repository, { ...shared, manifest }, 'v2');
  const stall = upstream.script({ match: downloads, stallAt: 10 });
  const pulls = ['v1', 'v2'].map((reference) => pull(proxy.url, { repository, reference }));
  await stall.reached();
  stall.release();
  for (const pulled of await Promise.all(pulls)) expect(pulled.blobs.get(layer.digest)).toBe(megabyte);
  await settled(proxy, path);
  expect(upstream.journal.count(downloads)).toBe(1);
});

test.each(['cold', 'cached'])(
  'clients that leave a %s blob at any moment leave nothing open behind',
  async (state) => {
    const { upstream, proxy, layer, path, downloads } = await coldLayer(12 * megabyte);
    if (state === 'cached') await warm(proxy, path);
    upstream.script({ match: downloads, bytesPerSecond: 60 * megabyte });
    const leavers = Array.from({ length: 60 }, async (_, index) => {
      const client = download(proxy.url, path, layer.bytes);
      await client.received(1 + index * 150_000);
      client.leave();
      await client.ended;
    });
    await Promise.all(leavers);
    await settled(proxy, path);
    const openBlobs = () => openFilesUnder(proxy.storagePath).filter((file) => !file.startsWith('index.db'));
    await expect.poll(openBlobs, { timeout: patience }).toEqual([]);
    expect(upstream.journal.count(downloads)).toBe(1);
  },
);
