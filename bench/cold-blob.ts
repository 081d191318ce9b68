import {
  type Bench,
  type Benchmark,
  bigImage,
  type CacheName,
  caches,
  cpuDuring,
  GiB,
  startCache,
} from './harness/bench.ts';
import { type Blob, blobPath, type Image } from './harness/images.ts';
import { downloadBy, fetchManifest, probe, run as runProgram, timed, verify } from './harness/load.ts';
import type { Result } from './harness/report.ts';
import { atMost, below, percentile, Samples, type Target } from './harness/samples.ts';

/** Enough of a blob that every party's code has been compiled, its buffers made and its files touched once. */
const warmUpBytes = 128 * 1024 ** 2;

const exactlyOnce: Target = { text: '= 1.00', holds: ({ value }) => value === 1 };

/** A blob that no cache has yet, from an upstream at full speed, for one client and for eight at once. */
export const coldBlob: Benchmark = {
  name: 'cold-blob',
  run: async (bench) => {
    const image = await bigImage(bench);
    const small = await bench.origin.image('warm-up', [warmUpBytes]);
    const [layer] = image.layers;
    if (layer === undefined) throw new Error('the image has no layer');
    const results: Result[] = [];
    const faults: string[] = [];
    for (const clients of [1, 8]) {
      const m = {
        wall: new Samples(),
        stored: new Samples(),
        cpu: new Samples(),
        amplification: new Samples(),
        lag: new Samples(),
      };
      const answers = new Map<CacheName, number[]>();
      for (const name of caches(bench)) {
        faults.push(...(await verifyFill(bench, { name, image, layer, small, clients })));
      }
      for (let round = 0; round < (bench.short ? 1 : 5); round += 1) {
        for (const name of caches(bench)) {
          const fill = await measureFill(bench, { name, image, layer, small, clients });
          m.wall.add(name, fill.wall);
          m.stored.add(name, fill.stored);
          m.cpu.add(name, (fill.cpu * GiB) / layer.size);
          m.amplification.add(name, fill.upstreamBytes / layer.size);
          if (name === 'entrepot' && fill.upstreamBytes !== layer.size) {
            faults.push(
              `entrepot fetched ${fill.upstreamBytes} bytes for a blob of ${layer.size} (${clients} clients)`,
            );
          }
          const probed = await measureResponsiveness(bench, { name, image, layer, small, clients });
          answers.set(name, [...(answers.get(name) ?? []), ...probed.answers]);
          if (probed.lag !== undefined) m.lag.add(name, probed.lag * 1000);
        }
      }
      const who = clients === 1 ? '1 client' : `${clients} clients`;
      const versus = 'docker-registry';
      const latency = new Samples();
      for (const [name, times] of answers) latency.add(name, percentile(times, 0.99) * 1000);
      results.push(
        m.wall.toResult({ metric: `${who}: wall`, unit: 's', versus, target: atMost(1) }),
        m.stored.toResult({
          metric: `${who}: until it is verified and stored`,
          unit: 's',
          versus,
          target: atMost(1),
        }),
        m.cpu.toResult({
          metric: `${who}: server CPU`,
          unit: 's per GiB of blob',
          versus,
          target: atMost(1),
        }),
        m.amplification.toResult({
          metric: `${who}: upstream bytes`,
          unit: '× the blob',
          target: exactlyOnce,
        }),
        latency.toResult({ metric: `${who}: GET /v2/ meanwhile, p99`, unit: 'ms', versus }),
        m.lag.toResult({
          metric: `${who}: event-loop lag p99 meanwhile`,
          unit: 'ms',
          target: below(20, 'ms'),
        }),
      );
    }
    return { results, faults };
  },
};

type Case = { name: CacheName; image: Image; layer: Blob; small: Image; clients: number };

/** One fill by a cache that has filled another blob before, so that the costs of a process's first are not in it. */
async function measureFill(bench: Bench, run: Case) {
  const { cache, url } = await freshCache(bench, run);
  let wall = 0;
  let stored = 0;
  let upstreamBytes = 0;
  const cpu = await cpuDuring(cache.server, async () => {
    stored = await timed(async () => {
      wall = await timed(() => downloadBy(run.clients, url));
      await cache.stored(run.layer.digest);
    });
    upstreamBytes = (await cache.gate.settle()).blobBytes(run.image);
  });
  await cache.close();
  return { wall, stored, cpu, upstreamBytes };
}

/** A fill whose every client computes the digest of what it receives meanwhile; not timed. */
async function verifyFill(bench: Bench, run: Case): Promise<string[]> {
  const { cache } = await freshCache(bench, run);
  const { url } = cache.server;
  const checks = Array.from({ length: run.clients }, () => verify(run.name, url, run.image, run.layer));
  const faults = (await Promise.all(checks)).flat();
  await cache.gate.settle();
  await cache.close();
  return faults;
}

/** Another fill, with a client beside it that only asks small questions. */
async function measureResponsiveness(bench: Bench, run: Case) {
  const { cache, url } = await freshCache(bench, run);
  await eventLoopLag(cache.server.url);
  const ended = new AbortController();
  const probing = probe(`${cache.server.url}/v2/`, ended.signal);
  await downloadBy(run.clients, url);
  const lag = run.name === 'entrepot' ? await eventLoopLag(cache.server.url) : undefined;
  ended.abort();
  const answers = await probing;
  await cache.gate.settle();
  await cache.close();
  return { answers, lag };
}

async function freshCache(bench: Bench, { name, image, layer, small }: Case) {
  const cache = await startCache(bench, name);
  await fetchManifest(cache.server.url, small);
  for (const blob of small.layers) await downloadBy(1, cache.server.url + blobPath(small, blob));
  await fetchManifest(cache.server.url, image);
  await cache.gate.settle();
  // What an earlier run left for the disk to write would otherwise be this one's cost.
  await runProgram('sync', []);
  return { cache, url: cache.server.url + blobPath(image, layer) };
}

/** prom-client's own lag gauge (seconds); reading it starts a new measuring period. */
async function eventLoopLag(base: string): Promise<number | undefined> {
  const metrics = await (await fetch(`${base}/metrics`)).text();
  const value = /^nodejs_eventloop_lag_p99_seconds\S* ([\d.e+-]+)$/m.exec(metrics)?.[1];
  return value === undefined ? undefined : Number(value);
}
