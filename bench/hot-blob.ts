import {
  type Bench,
  type Benchmark,
  bigImage,
  type Cache,
  caches,
  cpuDuring,
  GiB,
  startCache,
} from './harness/bench.ts';
import { blobPath, type Image } from './harness/images.ts';
import { downloadBy, downloadCounted, fetchManifest, timed, verify } from './harness/load.ts';
import { startStaticNginx } from './harness/peers.ts';
import { atMost, Samples } from './harness/samples.ts';
import type { Server } from './harness/sandbox.ts';

/** Serving one large blob that is on disk (and in the page cache), against nginx with sendfile. */
export const hotBlob: Benchmark = {
  name: 'hot-blob',
  run: async (bench) => {
    const image = await bigImage(bench);
    const [layer] = image.layers;
    if (layer === undefined) throw new Error('the image has no layer');
    const opened = await warmCaches(bench, image);
    const path = blobPath(image, layer);
    const file = bench.origin.file(layer.digest);
    const nginx = await startStaticNginx(bench.sandbox, {
      files: [{ path, file, type: 'application/octet-stream' }],
    });
    const servers: Server[] = [...opened.map(({ server }) => server), nginx];
    const faults: string[] = [];
    for (const server of servers) faults.push(...(await verify(server.name, server.url, image, layer)));

    const results = [];
    for (const clients of [1, 8]) {
      const speed = new Samples();
      const cpu = new Samples();
      const bothEnds = new Samples();
      const repeats = clients === 1 ? 3 : 1;
      const delivered = (clients * repeats * layer.size) / GiB;
      for (let round = 0; round < (bench.short ? 2 : 7); round += 1) {
        for (const server of servers) {
          let seconds = 0;
          let clientCpu = 0;
          const used = await cpuDuring(server, async () => {
            for (let n = 0; n < repeats; n += 1) {
              seconds += await timed(async () => {
                clientCpu += await downloadCounted(clients, server.url + path);
              });
            }
          });
          speed.add(server.name, delivered / seconds);
          cpu.add(server.name, used / delivered);
          bothEnds.add(server.name, (used + clientCpu) / delivered);
        }
      }
      const who = clients === 1 ? '1 client' : `${clients} clients`;
      results.push(
        speed.toResult({ metric: `${who}: speed`, unit: 'GiB/s', versus: 'nginx' }),
        cpu.toResult({ metric: `${who}: server CPU`, unit: 's/GiB', versus: 'nginx', target: atMost(1) }),
        bothEnds.toResult({ metric: `${who}: server and client CPU`, unit: 's/GiB', versus: 'nginx' }),
      );
    }
    await nginx.stop();
    for (const cache of opened) await cache.close();
    return { results, faults };
  },
};

async function warmCaches(bench: Bench, image: Image): Promise<Cache[]> {
  const opened: Cache[] = [];
  for (const name of caches(bench)) {
    const cache = await startCache(bench, name);
    await fetchManifest(cache.server.url, image);
    for (const layer of image.layers) await downloadBy(1, cache.server.url + blobPath(image, layer));
    await cache.gate.settle();
    opened.push(cache);
  }
  return opened;
}
