import {
  type Bench,
  type Benchmark,
  type Cache,
  type CacheName,
  caches,
  startCache,
} from './harness/bench.ts';
import { blobPath, type Image } from './harness/images.ts';
import { download, fetchManifest, timed, verify } from './harness/load.ts';
import type { Result } from './harness/report.ts';
import type { RoadOptions } from './harness/road-messages.ts';
import { atLeast, atMost, Samples, type Target } from './harness/samples.ts';

const MB = 1_000_000;

/** Who takes part in a comparison, over which roads and with which setting. */
type Party = {
  readonly label: string;
  readonly cache: CacheName;
  readonly roads: readonly RoadOptions[];
  readonly maxConnections?: number;
};

/** What a comparison yields, by the parties' labels. */
type Measured = Record<'wall' | 'speed' | 'amplification' | 'whole', Samples>;

const always: Target = { text: '= 1.00', holds: ({ value }) => value === 1 };
const aboutOnce: Target = { text: '<= 1.05', holds: ({ value }) => value <= 1.05 };

/** A cold blob over bad lines (throttled connections, capped upstreams, connections that are cut) and a good one. */
export const upstreams: Benchmark = {
  name: 'upstreams',
  run: async (bench) => {
    const faults: string[] = [];
    const results: Result[] = [];
    for (const each of [throttled, capped, cut, unlimited]) results.push(...(await each(bench, faults)));
    return { results, faults };
  },
};

async function throttled(bench: Bench, faults: string[]): Promise<Result[]> {
  const megabytes = bench.short ? 10 : 100;
  const roads = [{ bytesPerSecond: 5 * MB }];
  const eight = 'maxConnections 8';
  const parties: Party[] = [
    { label: 'entrepot', cache: 'entrepot', roads },
    { label: eight, cache: 'entrepot', roads, maxConnections: 8 },
    { label: 'docker-registry', cache: 'docker-registry', roads },
  ];
  const seen = await measure(bench, { parties, megabytes, rounds: bench.short ? 1 : 3 }, faults);
  const versus = 'docker-registry';
  return [
    { label: 'entrepot', setting: '', least: 3.5 },
    { label: eight, setting: `, ${eight}`, least: 7 },
  ].flatMap(({ label, setting, least }) => {
    const what = `${megabytes} MB at 5 MB/s a connection${setting}`;
    const speed = only(seen.speed, label, versus);
    const amplification = only(seen.amplification, label);
    return [
      speed.toResult({ metric: `${what}: speed`, unit: 'MB/s', versus, target: atLeast(least) }),
      amplification.toResult({
        metric: `${what}: upstream bytes`,
        unit: '× the blob',
        target: aboutOnce,
      }),
    ];
  });
}

async function capped(bench: Bench, faults: string[]): Promise<Result[]> {
  const megabytes = bench.short ? 20 : 100;
  const road = { totalBytesPerSecond: 20 * MB };
  const parties: Party[] = [
    { label: 'entrepot', cache: 'entrepot', roads: [road, road] },
    { label: 'one upstream', cache: 'entrepot', roads: [road] },
  ];
  const { speed } = await measure(bench, { parties, megabytes, rounds: bench.short ? 1 : 3 }, faults);
  const metric = `${megabytes} MB from two upstreams of 20 MB/s each: speed`;
  return [speed.toResult({ metric, unit: 'MB/s', versus: 'one upstream', target: atLeast(1.8) })];
}

async function cut(bench: Bench, faults: string[]): Promise<Result[]> {
  const results: Result[] = [];
  const lines = [{}, ...(bench.short ? [] : [{ totalBytesPerSecond: 50 * MB }])];
  for (const line of lines) {
    const roads = [{ ...line, cutEvery: 10 * MB }];
    const parties: Party[] = [
      { label: 'entrepot', cache: 'entrepot', roads },
      { label: 'uncut', cache: 'entrepot', roads: [line] },
      { label: 'docker-registry', cache: 'docker-registry', roads },
    ];
    const paced = 'totalBytesPerSecond' in line;
    const megabytes = bench.short ? 30 : paced ? 100 : 200;
    const rounds = bench.short ? 1 : paced ? 3 : 7;
    const { wall, whole } = await measure(bench, { parties, megabytes, rounds }, faults);
    const what = `${megabytes} MB ${paced ? 'at 50 MB/s' : 'over loopback'}, a cut every 10 MB`;
    results.push(
      wall.toResult({ metric: `${what}: wall`, unit: 's', versus: 'uncut', target: atMost(1.15) }),
      whole.toResult({ metric: `${what}: pulls that came out whole`, unit: 'of 1', target: always }),
    );
  }
  return results;
}

async function unlimited(bench: Bench, faults: string[]): Promise<Result[]> {
  const single = 'maxConnections 1';
  const parties: Party[] = [
    { label: 'entrepot', cache: 'entrepot', roads: [] },
    { label: single, cache: 'entrepot', roads: [], maxConnections: 1 },
    { label: 'docker-registry', cache: 'docker-registry', roads: [] },
  ];
  const megabytes = bench.short ? 64 : 512;
  const { wall } = await measure(bench, { parties, megabytes, rounds: bench.short ? 1 : 7 }, faults);
  const metric = `${megabytes} MB without any limit: wall`;
  return [wall.toResult({ metric, unit: 's', versus: single, target: atMost(1.05) })];
}

/** The samples of one of entrepot's settings as entrepot's, and those of the peers named. */
function only(samples: Samples, ours: string, ...peers: readonly string[]): Samples {
  const chosen = new Samples();
  for (const value of samples.values(ours)) chosen.add('entrepot', value);
  for (const peer of peers) for (const value of samples.values(peer)) chosen.add(peer, value);
  return chosen;
}

/** Has each party in turn pull one blob that it does not have; what did not arrive whole counts for `whole` alone. */
async function measure(
  bench: Bench,
  { parties, megabytes, rounds }: { parties: readonly Party[]; megabytes: number; rounds: number },
  faults: string[],
): Promise<Measured> {
  const image = await bench.origin.image(`upstreams-${megabytes}`, [megabytes * MB]);
  const small = await bench.origin.image('small', [200_000]);
  const [layer] = image.layers;
  if (layer === undefined) throw new Error('the image has no layer');
  const m = { wall: new Samples(), speed: new Samples(), amplification: new Samples(), whole: new Samples() };
  const present = parties.filter(({ cache }) => caches(bench).includes(cache));
  for (let round = 0; round < rounds; round += 1) {
    for (const { label, cache: name, roads, maxConnections } of present) {
      const setting = maxConnections === undefined ? {} : { maxConnections };
      const cache = await startCache(bench, name, { roads, ...setting });
      await prepare(cache, small, image);
      let whole = true;
      const seconds = await timed(async () => {
        whole = await download(cache.server.url + blobPath(image, layer)).then(
          () => true,
          () => false,
        );
      });
      m.whole.add(label, whole ? 1 : 0);
      if (whole) {
        m.wall.add(label, seconds);
        m.speed.add(label, megabytes / seconds);
      }
      if (name === 'entrepot') {
        if (!whole) faults.push(`${label} did not deliver ${megabytes} MB whole`);
        else if (round === 0) faults.push(...(await verify(label, cache.server.url, image, layer)));
        if (roads.length > 0) m.amplification.add(label, (await bytesOver(cache)) / layer.size);
      }
      await cache.close();
    }
  }
  return m;
}

/** Serves a small image and learns the large one's manifest, so that start-up costs are not in what follows. */
async function prepare(cache: Cache, small: Image, image: Image): Promise<void> {
  const { url } = cache.server;
  await fetchManifest(url, small);
  for (const blob of small.layers) await download(url + blobPath(small, blob));
  await fetchManifest(url, image);
  await cache.gate.settle();
  await bytesOver(cache);
}

/** Bytes of blobs that came over the cache's roads since the last call. */
async function bytesOver(cache: Cache): Promise<number> {
  let bytes = 0;
  for (const road of cache.roads) bytes += (await road.traffic()).blobBytes;
  return bytes;
}
