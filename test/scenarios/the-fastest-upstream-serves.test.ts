import { expect, test } from 'vitest';
import { blobPath, mustGet, settled } from '../helpers/cold-layer.ts';
import { download } from '../helpers/download.ts';
import type { TestBlob } from '../helpers/image.ts';
import { makeJumpingClock } from '../helpers/manual-clock.ts';
import { metric } from '../helpers/metrics.ts';
import { type Answer, request } from '../helpers/request.ts';
import { blobDownloads, patient, severalUpstreams } from '../helpers/several-upstreams.ts';
import type { RunningProxy } from '../helpers/start-proxy.ts';

/** Layers of about this size, none like the other. */
const sizes = (count: number, size: number) => Array.from({ length: count }, (_, index) => size + index);

/** Pulls layers one after the other, each until it is on disk. */
async function pullEach(proxy: RunningProxy, layers: readonly TestBlob[]): Promise<void> {
  for (const { digest } of layers) {
    expect((await mustGet(proxy.url, blobPath(digest))).digest).toBe(digest);
    await settled(proxy, blobPath(digest));
  }
}

test('of two upstreams, the second ten times as fast, the second serves more than 85 % of the bytes', async () => {
  const { a, b, proxy, image } = await severalUpstreams([...sizes(22, 400_000), 20_000_000]);
  a.script({ match: blobDownloads, bytesPerSecond: 1_000_000 });
  b.script({ match: blobDownloads, bytesPerSecond: 10_000_000 });
  const warmUp = image.layers.slice(0, 2);
  await pullEach(proxy, warmUp);
  expect(a.journal.count(blobDownloads)).toBeGreaterThan(0);
  a.journal.clear();
  b.journal.clear();
  await pullEach(proxy, image.layers.slice(2));
  const [slow, fast] = [a.journal.bytes(blobDownloads), b.journal.bytes(blobDownloads)];
  expect(fast / (slow + fast)).toBeGreaterThan(0.85);
});

test('an upstream that recovers gets its traffic back by itself', async () => {
  const clock = makeJumpingClock();
  const { a, b, proxy, image } = await severalUpstreams(sizes(16, 300_000), { clock });
  b.script({ match: blobDownloads, bytesPerSecond: 1_500_000 });
  await a.refuse();
  const whileDown = image.layers.slice(0, 3);
  await pullEach(proxy, whileDown);
  expect(b.journal.count(blobDownloads)).toBe(3);

  await a.accept();
  clock.advance(61_000);
  const settling = image.layers.slice(3, 6);
  await pullEach(proxy, settling);
  const before = a.journal.bytes(blobDownloads);
  expect(before).toBeGreaterThan(0);
  const after = image.layers.slice(6);
  await pullEach(proxy, after);
  expect((a.journal.bytes(blobDownloads) - before) / (after.length * 300_000)).toBeGreaterThan(0.75);
});

test('what was learnt of the upstreams outlives a restart', async () => {
  const { a, b, proxy, image } = await severalUpstreams(sizes(16, 400_000));
  a.script({ match: blobDownloads, bytesPerSecond: 1_000_000 });
  await pullEach(proxy, image.layers.slice(0, 6));
  await proxy.restart();
  a.journal.clear();
  b.journal.clear();
  await pullEach(proxy, image.layers.slice(6));
  const [slow, fast] = [a.journal.bytes(blobDownloads), b.journal.bytes(blobDownloads)];
  expect(fast / (slow + fast)).toBeGreaterThan(0.75);
});

test('an upstream that is fast enough gets exactly one request a blob and sends exactly its bytes', async () => {
  const { all, proxy, image } = await severalUpstreams([12_000_000, 6_000_000, 300_000]);
  for (const layer of image.layers) {
    expect(await download(proxy.url, blobPath(layer.digest), layer.bytes).ended).toBe('complete');
    await settled(proxy, blobPath(layer.digest));
    const requests = all.flatMap(({ journal }) => journal.filter({ kind: 'blob', reference: layer.digest }));
    expect(requests.map(({ method, bytes }) => [method, bytes])).toEqual([['GET', layer.bytes.length]]);
  }
});

test('when the first byte is late, the next upstream is asked, the first answer wins and the loser is cancelled', async () => {
  const clock = makeJumpingClock();
  const { all, proxy, image } = await severalUpstreams(sizes(85, 2_000), {
    configured: [patient, patient],
    clock,
  });
  // Both are known well enough for what is usual, and there were requests enough for an extra one.
  const layers = [...image.layers];
  for (const other of all.toReversed()) {
    await other.refuse();
    await pullEach(proxy, layers.splice(0, 40));
    await other.accept();
    clock.advance(61_000);
  }
  await pullEach(proxy, layers.splice(0, 4));
  const [last] = layers;
  if (!last) throw new Error('no layer is left');
  const match = { kind: 'blob', method: 'GET', reference: last.digest } as const;
  const holds = all.map((upstream) => upstream.script({ match, hold: true }));
  const hedges = await metric(proxy.url, 'entrepot_hedges_total');
  const answer = request(proxy.url, blobPath(last.digest));
  const first = await Promise.race(holds.map((hold, index) => hold.reached().then(() => index)));
  const later = holds[1 - first];
  await later?.reached();
  later?.release();
  expect(await answer).toMatchObject({ status: 200, digest: last.digest, complete: true });
  await settled(proxy, blobPath(last.digest));
  const states = () => all.map(({ journal }) => journal.filter(match).map(({ state }) => state));
  await expect.poll(() => states()[first]).toEqual(['cut']);
  expect(states()[1 - first]).toEqual(['done']);
  expect(await metric(proxy.url, 'entrepot_hedges_total')).toBe(hedges + 1);
});

test('over many pulls from a steady upstream at most a few percent are asked for twice', async () => {
  const { all, proxy, image } = await severalUpstreams(sizes(200, 2_000));
  await pullEach(proxy, image.layers);
  const requests = all.reduce((sum, { journal }) => sum + journal.count(blobDownloads), 0);
  expect(requests).toBeGreaterThanOrEqual(200);
  expect(requests).toBeLessThanOrEqual(212);
  expect(await metric(proxy.url, 'entrepot_hedges_total')).toBeLessThanOrEqual(12);
});

/** The request log's line for the last blob that was served. */
async function lastLine(proxy: RunningProxy, cache: string): Promise<Readonly<Record<string, unknown>>> {
  const find = () => {
    return proxy.logs.lines.findLast(({ message, fields }) => {
      return message === 'request' && fields['route'] === 'blob' && fields['cache'] === cache;
    });
  };
  await expect.poll(find).toBeDefined();
  return find()?.fields ?? {};
}

const explained = (answer: Answer) => ({
  cache: answer.headers['x-cache'],
  upstream: answer.headers['x-upstream'],
  timing: String(answer.headers['server-timing'] ?? ''),
});

test('an answer says where it came from and how long what took', async () => {
  const { a, proxy, path } = await severalUpstreams([6_000_000]);
  const miss = explained(await mustGet(proxy.url, path));
  expect(miss).toMatchObject({ cache: 'miss', upstream: a.host });
  expect(miss.timing).toMatch(/^[a-z]+(;[a-z]+="?[^",]+"?)+(, ?[a-z]+(;[a-z]+="?[^",]+"?)+)*$/);
  expect(miss.timing).toMatch(/dur=\d/);
  await settled(proxy, path);
  const hit = explained(await mustGet(proxy.url, path));
  expect(hit.cache).toBe('hit');
  expect(hit.upstream).toBeUndefined();
  expect(hit.timing).toMatch(/dur=\d/);
});

test('the log says which upstreams served how many bytes and why the choice fell', async () => {
  const size = 10_000_000;
  const { a, b, proxy, path, downloads } = await severalUpstreams([size]);
  a.script({ match: downloads, dieAt: '40%' });
  await mustGet(proxy.url, path);
  const line = await lastLine(proxy, 'miss');
  expect(line['because']).toEqual(expect.stringMatching(/\w/));
  const upstreams = JSON.stringify(line['upstreams']);
  for (const part of [a.host, b.host, '4000000', '6000000']) expect(upstreams).toContain(part);
});
