import { setTimeout as delay } from 'node:timers/promises';
import { type Bench, type Benchmark, type CacheName, caches, MiB, startCache } from './harness/bench.ts';
import { blobPath, type Image } from './harness/images.ts';
import { download, fetchManifest, verify } from './harness/load.ts';
import { peakResidentBytes, residentBytes } from './harness/process-usage.ts';
import { below, Samples } from './harness/samples.ts';
import type { Server } from './harness/sandbox.ts';

const bytesPerSecond = 10 * MiB;
const coldImages = 4;
/** 250 MB are promised; the rows count in MiB. */
const below250MB = below(250e6 / MiB, 'MiB (250 MB)');

/** Resident memory while 32 slow clients pull a hot blob and 32 more pull four cold ones. */
export const memory: Benchmark = {
  name: 'memory',
  run: async (bench) => {
    const size = (bench.short ? 32 : 500) * MiB;
    const hot = await bench.origin.image(bench.short ? 'hot-short' : 'hot', [size]);
    const cold: Image[] = [];
    for (let n = 0; n < coldImages; n += 1) {
      cold.push(await bench.origin.image(`cold${n}${bench.short ? '-short' : ''}`, [size]));
    }
    const idle = new Samples();
    const peak = new Samples();
    const anonymous = new Samples();
    const after = new Samples();
    const faults: string[] = [];
    for (const name of caches(bench)) {
      const seen = await measure(bench, name, hot, cold);
      idle.add(name, seen.idle / MiB);
      peak.add(name, seen.peak / MiB);
      anonymous.add(name, seen.anonymous / MiB);
      after.add(name, seen.after / MiB);
      faults.push(...seen.faults);
    }
    const versus = 'docker-registry';
    const results = [
      idle.toResult({ metric: 'RSS with the hot blob cached, idle', unit: 'MiB', versus }),
      peak.toResult({
        metric: 'RSS peak, 32 hot + 32 cold clients',
        unit: 'MiB',
        versus,
        target: below250MB,
      }),
      anonymous.toResult({ metric: 'of that not mapped from files', unit: 'MiB', versus }),
      after.toResult({ metric: 'RSS 2 s after the last client', unit: 'MiB', versus }),
    ];
    return { results, faults };
  },
};

async function measure(bench: Bench, name: CacheName, hot: Image, cold: readonly Image[]) {
  const cache = await startCache(bench, name);
  const { server } = cache;
  for (const image of [hot, ...cold]) await fetchManifest(server.url, image);
  const [hotUrl = ''] = urls(server, hot);
  await download(hotUrl);
  await cache.gate.settle();
  const idle = residentBytes(server.pid);
  const targets = [...Array.from({ length: 32 }, () => hotUrl)];
  for (const image of cold) for (let n = 0; n < 8; n += 1) targets.push(...urls(server, image));
  const finished = new AbortController();
  const watching = watch(server, finished.signal);
  await Promise.all(targets.map((url) => download(url, bytesPerSecond)));
  finished.abort();
  const { peak, anonymous } = await watching;
  await delay(2000);
  const after = residentBytes(server.pid);
  const traffic = await cache.gate.settle();
  const faults: string[] = [];
  for (const image of cold) {
    const [layer] = image.layers;
    if (layer === undefined) continue;
    faults.push(...(await verify(name, server.url, image, layer)));
    const fetched = traffic.blobBytes(image);
    if (name === 'entrepot' && fetched !== layer.size)
      faults.push(`entrepot fetched ${fetched} bytes of ${layer.size}`);
  }
  await cache.close();
  return { idle, peak, anonymous, after, faults };
}

/** The largest resident and anonymous sizes of the server's process tree, sampled and as the kernel recorded it. */
async function watch(server: Server, until: AbortSignal) {
  let peak = 0;
  let anonymous = 0;
  while (!until.aborted) {
    peak = Math.max(peak, residentBytes(server.pid), peakResidentBytes(server.pid));
    anonymous = Math.max(anonymous, residentBytes(server.pid, 'RssAnon'));
    await delay(100);
  }
  return { peak, anonymous };
}

const urls = (server: Server, image: Image) =>
  image.layers.map((layer) => server.url + blobPath(image, layer));
