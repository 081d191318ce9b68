import { expect, test } from 'vitest';
import { blobPath, mustGet, settled } from '../helpers/cold-layer.ts';
import { download } from '../helpers/download.ts';
import type { FakeUpstream } from '../helpers/fake-upstream.ts';
import { makeGate, within } from '../helpers/gate.ts';
import { makeJumpingClock } from '../helpers/manual-clock.ts';
import { metric } from '../helpers/metrics.ts';
import { request } from '../helpers/request.ts';
import { blobDownloads, severalUpstreams } from '../helpers/several-upstreams.ts';
import type { RunningProxy } from '../helpers/start-proxy.ts';

const small = 3_000_000;
const large = 12_000_000;

/** Whether the metrics count this upstream as quarantined. */
function quarantined(proxy: RunningProxy, upstream: FakeUpstream): Promise<number> {
  return metric(proxy.url, 'entrepot_upstream_quarantined', upstream.host);
}

/** The warnings that name an upstream and its quarantine. */
function warnings(proxy: RunningProxy, upstream: FakeUpstream): unknown[] {
  return proxy.logs.lines.filter((line) => {
    const text = JSON.stringify(line);
    return line.level === 'warn' && text.includes(upstream.host) && text.includes('quarantine');
  });
}

test('a small blob that is corrupt at the first upstream comes right from the second in the same pull', async () => {
  const { a, b, proxy, layer, path, downloads } = await severalUpstreams([small]);
  a.script({ match: downloads, corruptAt: '50%' });
  expect(await request(proxy.url, path)).toMatchObject({ status: 200, digest: layer.digest, complete: true });
  expect(a.journal.count(downloads)).toBe(1);
  expect(b.journal.filter(downloads).map((entry) => entry.bytes)).toEqual([small]);
  expect(await quarantined(proxy, a)).toBe(1);
  expect(await quarantined(proxy, b)).toBe(0);
  expect(warnings(proxy, a)).toHaveLength(1);
  expect(warnings(proxy, b)).toEqual([]);
});

test('a large blob of which wrong bytes were shown fails once, and the next pull is right and from the second', async () => {
  const { a, b, proxy, layer, path, downloads } = await severalUpstreams([large]);
  const stall = a.script({ match: downloads, corruptAt: '10%', stallAt: '80%' });
  const shown = makeGate();
  const pulling = request(proxy.url, path, { onChunk: () => shown.open() });
  await within(shown.opened, 'the first bytes');
  stall.release();
  const first = await pulling;
  expect(first.status === 200 && first.complete).toBe(false);
  expect(await request(proxy.url, path)).toMatchObject({ status: 200, digest: layer.digest, complete: true });
  expect(a.journal.count(downloads)).toBe(1);
  expect(b.journal.blobBytes(layer.digest)).toBe(large);
  expect(await quarantined(proxy, a)).toBe(1);
  expect(warnings(proxy, a)).toHaveLength(1);
});

test('a quarantined upstream is asked for no blob until its time is over, and then again', async () => {
  const clock = makeJumpingClock();
  const sizes = [small, ...Array.from({ length: 12 }, (_, index) => 100_000 + index)];
  const { a, proxy, image, path, downloads } = await severalUpstreams(sizes, { clock });
  const fault = a.script({ match: downloads, corruptAt: 0 });
  await mustGet(proxy.url, path);
  fault.remove();
  const asked = a.journal.count(blobDownloads);
  const [, ...rest] = image.layers;
  const pullNext = async (count: number) => {
    for (const layer of rest.splice(0, count)) {
      const next = blobPath(layer.digest);
      expect((await mustGet(proxy.url, next)).digest).toBe(layer.digest);
      await settled(proxy, next);
    }
  };
  await pullNext(4);
  clock.advance(5 * 60_000);
  await pullNext(4);
  expect(a.journal.count(blobDownloads)).toBe(asked);

  clock.advance(5 * 60_000 + 1_000);
  await pullNext(4);
  expect(a.journal.count(blobDownloads)).toBeGreaterThan(asked);
  expect(await quarantined(proxy, a)).toBe(0);
});

test('quarantine outlives a restart', async () => {
  const { a, proxy, image, path, downloads } = await severalUpstreams([small, 100_000]);
  a.script({ match: downloads, corruptAt: 0 });
  await mustGet(proxy.url, path);
  await settled(proxy, path);
  await proxy.restart();
  expect(await quarantined(proxy, a)).toBe(1);
  const asked = a.journal.count(blobDownloads);
  const second = image.layers[1]?.digest ?? '';
  expect((await mustGet(proxy.url, blobPath(second))).digest).toBe(second);
  expect(a.journal.count(blobDownloads)).toBe(asked);
});

test('the only upstream there is is asked all the same, quarantined or not', async () => {
  const { a, proxy, layer, path, downloads } = await severalUpstreams([small], { configured: [{}] });
  const fault = a.script({ match: downloads, corruptAt: 0 });
  expect((await request(proxy.url, path)).status).toBe(503);
  fault.remove();
  expect(await download(proxy.url, path, layer.bytes).ended).toBe('complete');
});

test('the only upstream there is is asked as patiently while it is quarantined as before', async () => {
  const { a, proxy, layer, path, downloads } = await severalUpstreams([small], { configured: [{}] });
  const fault = a.script({ match: downloads, corruptAt: 0 });
  expect((await request(proxy.url, path)).status).toBe(503);
  expect(await quarantined(proxy, a)).toBe(1);
  fault.remove();
  a.script({ match: downloads, status: 503, times: 2 });
  expect(await request(proxy.url, path)).toMatchObject({ status: 200, digest: layer.digest, complete: true });
});
