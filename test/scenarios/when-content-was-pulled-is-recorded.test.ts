import { join } from 'node:path';
import SqliteDatabase from 'better-sqlite3';
import { expect, test } from 'vitest';
import { coldLayer, warm } from '../helpers/cold-layer.ts';
import { makeManualClock } from '../helpers/manual-clock.ts';
import { request } from '../helpers/request.ts';

/** A server that has a layer, which is asked for a minute after the server began, then every minute. */
async function scene() {
  const clock = makeManualClock();
  const began = clock.now();
  const { proxy, path, layer } = await coldLayer(1_000, { clock });
  await warm(proxy, path);
  await proxy.restart();
  return {
    layer,
    async ask(method: 'GET' | 'HEAD', headers: Record<string, string> = {}) {
      clock.advance(60_000);
      return (await request(proxy.url, path, { method, headers })).status;
    },
    /** The minutes after which the layer was last pulled, as they are recorded when the server has stopped. */
    async recorded() {
      await proxy.close();
      const index = new SqliteDatabase(join(proxy.storagePath, 'index.db'), { readonly: true });
      const at = index.prepare('SELECT pulled_at FROM blob WHERE digest = ?').pluck().get(layer.digest);
      index.close();
      return typeof at === 'number' ? (at - began) / 60_000 : at;
    },
  };
}

test('a GET of a blob counts as a pull, the last one', async () => {
  const { ask, recorded } = await scene();
  for (let times = 0; times < 2; times += 1) expect(await ask('GET')).toBe(200);
  expect(await recorded()).toBe(2);
});

test('a GET of a range counts, and one that is answered with "not modified"', async () => {
  for (const [headers, status] of [
    [(): Record<string, string> => ({ range: 'bytes=1-3' }), 206],
    [(digest: string): Record<string, string> => ({ 'if-none-match': `"${digest}"` }), 304],
  ] as const) {
    const { ask, recorded, layer } = await scene();
    await ask('GET');
    expect(await ask('GET', headers(layer.digest))).toBe(status);
    expect(await recorded()).toBe(2);
  }
});

test('a HEAD does not count, nor does a range that lies outside the blob', async () => {
  const { ask, recorded } = await scene();
  await ask('GET');
  expect(await ask('HEAD')).toBe(200);
  expect(await ask('GET', { range: 'bytes=100000000-' })).toBe(416);
  expect(await recorded()).toBe(1);
});
