import {
  type Bench,
  type Benchmark,
  type CacheName,
  caches,
  cpuDuring,
  GiB,
  startCache,
} from './harness/bench.ts';
import { blobPath, type Image } from './harness/images.ts';
import { askAdmin, downloadAll, fetchManifest, run, timed } from './harness/load.ts';
import { atMost, Samples } from './harness/samples.ts';

/** A set as a platform has it: every image on one base, with layers of its own. */
type ImageSet = { images: readonly Image[]; distinct: number };

/** Images fetched ahead that share layers: each blob once, whoever names it. */
export const warm: Benchmark = {
  name: 'warm',
  run: async (bench) => {
    const set = await makeSet(bench);
    const m = { wall: new Samples(), cpu: new Samples(), amplification: new Samples() };
    const faults: string[] = [];
    for (let round = 0; round < (bench.short ? 1 : 3); round += 1) {
      for (const name of caches(bench)) {
        const { wall, cpu, fetched } = await measure(bench, name, set);
        m.wall.add(name, wall);
        m.cpu.add(name, (cpu * GiB) / set.distinct);
        m.amplification.add(name, fetched / set.distinct);
        if (name === 'entrepot' && fetched !== set.distinct) {
          faults.push(`entrepot fetched ${fetched} bytes of layers for a set of ${set.distinct}`);
        }
      }
    }
    const versus = 'docker-registry';
    const what = `${set.images.length} images`;
    return {
      results: [
        m.wall.toResult({ metric: `${what}: wall`, unit: 's', versus, target: atMost(1) }),
        m.cpu.toResult({
          metric: `${what}: server CPU`,
          unit: 's per GiB of layers',
          versus,
          target: atMost(1),
        }),
        m.amplification.toResult({
          metric: `${what}: upstream bytes`,
          unit: '× the distinct layers',
          target: { text: '= 1.00', holds: ({ value }) => value === 1 },
        }),
      ],
      faults,
    };
  },
};

async function makeSet(bench: Bench): Promise<ImageSet> {
  const unit = bench.short ? 100_000 : 1_000_000;
  const base = await bench.origin.image('warm-base', [20 * unit, 5 * unit]);
  const images: Image[] = [];
  for (let number = 0; number < (bench.short ? 6 : 40); number += 1) {
    images.push(await bench.origin.image(`warm-${number}`, [unit, unit / 5], base));
  }
  const sizes = new Map(
    images.flatMap(({ layers }) => layers.map(({ digest, size }) => [digest, size] as const)),
  );
  return { images, distinct: [...sizes.values()].reduce((sum, size) => sum + size, 0) };
}

async function measure(bench: Bench, name: CacheName, { images }: ImageSet) {
  const cache = await startCache(bench, name);
  await run('sync', []);
  let wall = 0;
  let fetched = 0;
  const cpu = await cpuDuring(cache.server, async () => {
    wall = await timed(() =>
      name === 'entrepot' ? warmAll(cache.storage, images) : pullAll(cache.server.url, images),
    );
    const traffic = await cache.gate.settle();
    fetched = images.reduce((sum, image) => sum + traffic.blobBytes(image), 0);
  });
  await cache.close();
  return { wall, cpu, fetched };
}

async function warmAll(storage: string, images: readonly Image[]): Promise<void> {
  const body = { images: images.map(({ repository }) => `docker.io/${repository}:1`), referrers: false };
  const events = await askAdmin(storage, { path: '/api/v1/warm', body });
  const last = JSON.parse(events.trim().split('\n').at(-1) ?? '{}') as { kind?: string; failed?: number };
  if (last.kind !== 'done' || last.failed !== 0)
    throw new Error(`warming ended with ${JSON.stringify(last)}`);
}

/** A cache without such a command is warmed by pulling through it, eight layers at a time. */
async function pullAll(base: string, images: readonly Image[]): Promise<void> {
  for (const image of images) await fetchManifest(base, image);
  await downloadAll(
    images.flatMap((image) => [...image.layers, image.config].map((blob) => base + blobPath(image, blob))),
    8,
  );
}
