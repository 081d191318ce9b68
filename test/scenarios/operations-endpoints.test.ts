import { expect, onTestFinished, test, vi } from 'vitest';
import { FillWorkers } from '../../src/pull/threads/fill-workers.ts';
import { coldLayer, manifestPath, mustGet, warm } from '../helpers/cold-layer.ts';
import { request } from '../helpers/request.ts';

test.each(['/livez', '/readyz', '/health', '/ping'])(
  '%s answers 200 while the server works, upstream dead or not',
  async (path) => {
    const { upstream, proxy } = await coldLayer(10);
    expect((await request(proxy.url, path)).status).toBe(200);
    await upstream.refuse();
    expect((await request(proxy.url, path)).status).toBe(200);
    expect((await request(proxy.url, path, { method: 'HEAD' })).status).toBe(200);
  },
);

test('what should get no more requests says so where probes ask, and serves on', async () => {
  const { proxy } = await coldLayer(10, { server: { drainDelay: 3_600_000 } });
  const enough = new AbortController();
  const retired = proxy.retire(enough.signal);
  for (const path of ['/readyz', '/health', '/ping']) {
    expect(await request(proxy.url, path)).toMatchObject({ status: 503, text: 'draining\n' });
  }
  expect((await request(proxy.url, '/livez')).status).toBe(200);
  const answer = await mustGet(proxy.url, manifestPath('v1'));
  expect(answer.headers.connection).toBe('close');
  enough.abort();
  await retired;
});

test('a server whose download workers keep ending says so where probes ask, and serves what it has', async () => {
  const { proxy, path } = await coldLayer(10);
  await warm(proxy, path);
  const failing = vi.spyOn(FillWorkers.prototype, 'failing', 'get').mockReturnValue('no worker');
  onTestFinished(() => failing.mockRestore());
  expect(await request(proxy.url, '/readyz')).toMatchObject({ status: 503, text: 'no worker\n' });
  expect((await request(proxy.url, '/livez')).status).toBe(200);
  expect((await mustGet(proxy.url, path)).headers['x-cache']).toBe('hit');
  failing.mockReturnValue(undefined);
  expect((await request(proxy.url, '/readyz')).status).toBe(200);
});

/** Reads one sample of the metrics: that whose labels include all the given ones. */
async function sample(url: string, name: string, ...labels: string[]): Promise<number> {
  const { text, headers } = await mustGet(url, '/metrics');
  expect(headers['content-type']).toMatch(/^text\/plain/);
  const lines = text.split('\n').filter((line) => line.startsWith(`${name}{`) || line.startsWith(`${name} `));
  const line = lines.find((each) => labels.every((label) => each.includes(label)));
  return Number(line?.split(' ').at(-1) ?? 0);
}

test('/metrics counts requests by outcome and bytes by where they came from', async () => {
  const { proxy, path } = await coldLayer(100_000);
  await warm(proxy, path);
  const requests = () =>
    sample(proxy.url, 'entrepot_requests_total', 'route="blob"', 'cache="hit"', 'status="200"');
  const bytes = () => sample(proxy.url, 'entrepot_sent_bytes_total', 'cache="hit"');
  const before = [await requests(), await bytes()];
  await mustGet(proxy.url, path);
  // A request is counted when its connection says that it ended, a moment after the client has the last byte.
  await expect.poll(requests).toBe((before[0] ?? 0) + 1);
  expect(await bytes()).toBe((before[1] ?? 0) + 100_000);
  expect(
    await sample(proxy.url, 'entrepot_requests_total', 'route="blob"', 'cache="miss"', 'status="200"'),
  ).toBe(1);
  expect(await sample(proxy.url, 'entrepot_fills_total', 'result="stored"')).toBe(1);
  expect(await sample(proxy.url, 'entrepot_fill_bytes_total')).toBe(100_000);
  expect(await sample(proxy.url, 'entrepot_fills_active')).toBe(0);
});

test('every request is one line in the log that says what it was and how it went', async () => {
  const { proxy, layer, path } = await coldLayer(100_000);
  await mustGet(proxy.url, path);
  const line = proxy.logs.lines.find(({ fields }) => fields['route'] === 'blob');
  expect(line).toMatchObject({
    level: 'info',
    fields: {
      method: 'GET',
      status: 200,
      image: 'ghcr.io/org/app',
      reference: layer.digest,
      cache: 'miss',
      bytes: 100_000,
    },
  });
});
