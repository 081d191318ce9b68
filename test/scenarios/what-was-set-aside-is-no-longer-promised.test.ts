import { open } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { storageLayout } from '../../src/store/disk/layout.ts';
import { coldLayer, settled } from '../helpers/cold-layer.ts';
import { controlEvents } from '../helpers/control.ts';
import { mustDigest } from '../helpers/image.ts';
import { patience } from '../helpers/patience.ts';
import { request } from '../helpers/request.ts';

/** A layer that was served, then damaged on the disk, then looked for by a scrub while its upstream is down. */
async function damaged() {
  const scene = await coldLayer(100_000);
  const { proxy, path, layer, upstream } = scene;
  expect((await request(proxy.url, path)).digest).toBe(layer.digest);
  await settled(proxy, path);
  expect((await request(proxy.url, path, { method: 'HEAD' })).headers['x-cache']).toBe('hit');
  const file = await open(storageLayout(proxy.storagePath).blob(mustDigest(layer.digest)), 'r+');
  await file.write(Buffer.from('damage'), 0, 6, 50_000);
  await file.close();
  await upstream.refuse();
  const events = await controlEvents(proxy, 'POST', '/verify', { rate: 0 });
  expect(events.at(-1)).toMatchObject({ kind: 'done', wrong: 1 });
  return scene;
}

test('a HEAD promises nothing that a scrub has set aside', async () => {
  const { proxy, path } = await damaged();
  const head = await request(proxy.url, path, { method: 'HEAD' });
  expect(head.headers['x-cache']).not.toBe('hit');
  expect((await request(proxy.url, path)).status).toBe(503);
});

test('once the upstream is back the layer is fetched again, and promised again', async () => {
  const { proxy, path, layer, upstream, downloads } = await damaged();
  await upstream.accept();
  const before = upstream.journal.count(downloads);
  await expect
    .poll(async () => (await request(proxy.url, path)).digest, { timeout: patience })
    .toBe(layer.digest);
  expect(upstream.journal.count(downloads)).toBe(before + 1);
  expect((await request(proxy.url, path, { method: 'HEAD' })).headers['x-cache']).toBe('hit');
});
