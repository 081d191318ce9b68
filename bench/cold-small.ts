import { type Benchmark, type Cache, caches, cpuDuring, startCache } from './harness/bench.ts';
import { blobPath, type Image } from './harness/images.ts';
import { downloadAll, fetchManifest, timed, verify } from './harness/load.ts';
import { atMost, Samples } from './harness/samples.ts';

const layerCount = 40;
const layerSize = 200_000;

/** A cold image of many small layers, eight at a time: what one more fill costs. */
export const coldSmall: Benchmark = {
  name: 'cold-small',
  run: async (bench) => {
    const rounds = bench.short ? 2 : 15;
    const images: Image[] = [];
    for (let n = 0; n <= rounds; n += 1) {
      images.push(
        await bench.origin.image(
          `many${n}`,
          Array.from({ length: layerCount }, () => layerSize),
        ),
      );
    }
    const opened: Cache[] = [];
    for (const name of caches(bench)) opened.push(await startCache(bench, name));
    const direct = await bench.origin.gate();
    const m = {
      wall: new Samples(),
      cpu: new Samples(),
      amplification: new Samples(),
      perBlob: new Samples(),
    };
    const faults: string[] = [];
    for (const [round, image] of images.entries()) {
      const warmUp = round === 0; // The first image only warms the processes; it has a round of its own.
      const floor = await timed(() => pull(direct.url, image));
      if (!warmUp) m.wall.add('upstream', floor * 1000);
      for (const cache of opened) {
        const pulled = await measure(cache, image);
        faults.push(...pulled.faults);
        if (warmUp) continue;
        m.wall.add(cache.name, pulled.wall * 1000);
        m.cpu.add(cache.name, (pulled.cpu * 1000) / layerCount);
        m.amplification.add(cache.name, pulled.amplification);
        m.perBlob.add(cache.name, ((pulled.wall - floor) * 1000) / layerCount);
      }
    }
    for (const cache of opened) faults.push(...(await verifyFirst(cache, images)));
    for (const cache of opened) await cache.close();
    await direct.stop();
    const versus = 'docker-registry';
    const what = `${layerCount} × ${layerSize / 1000} kB, 8 parallel`;
    const results = [
      m.wall.toResult({ metric: `${what}: wall`, unit: 'ms', versus, target: atMost(1) }),
      m.perBlob.toResult({ metric: `${what}: wall over the upstream's own, per blob`, unit: 'ms', versus }),
      m.cpu.toResult({ metric: `${what}: server CPU per blob`, unit: 'ms', versus, target: atMost(1) }),
      m.amplification.toResult({ metric: `${what}: upstream bytes`, unit: '× the blobs' }),
    ];
    return { results, faults };
  },
};

async function pull(base: string, image: Image): Promise<void> {
  await fetchManifest(base, image);
  await downloadAll(
    image.layers.map((layer) => base + blobPath(image, layer)),
    8,
  );
}

async function measure(cache: Cache, image: Image) {
  let wall = 0;
  let bytes = 0;
  const cpu = await cpuDuring(cache.server, async () => {
    wall = await timed(() => pull(cache.server.url, image));
    bytes = (await cache.gate.settle()).blobBytes(image);
  });
  const size = layerCount * layerSize;
  const doubled = cache.name === 'entrepot' && bytes !== size;
  return {
    wall,
    cpu,
    amplification: bytes / size,
    faults: doubled ? [`entrepot fetched ${bytes} bytes for ${image.repository} of ${size}`] : [],
  };
}

async function verifyFirst(cache: Cache, images: readonly Image[]): Promise<string[]> {
  const [image] = images;
  const layer = image?.layers[0];
  return image && layer ? verify(cache.name, cache.server.url, image, layer) : [];
}
