import { once } from 'node:events';
import { type IncomingMessage, request } from 'node:http';
import { type Bench, type Benchmark, type Cache, caches, MiB, startCache } from './harness/bench.ts';
import { blobPath, type Image } from './harness/images.ts';
import { download, fetchManifest, timed, verify } from './harness/load.ts';
import { atMost, Samples, type Target } from './harness/samples.ts';

const bytesPerSecond = 20 * MiB;
const within10ms: Target = { text: '<= upstream + 10 ms', holds: ({ value, peer }) => value <= peer + 10 };

/** How long a client waits for the first byte of a cold blob behind a slow upstream, and for the whole. */
export const firstByte: Benchmark = {
  name: 'first-byte',
  run: async (bench) => {
    const size = (bench.short ? 20 : 200) * MiB;
    const image = await bench.origin.image(bench.short ? 'slow-short' : 'slow', [size]);
    const small = await bench.origin.image('small', [200_000]);
    const [layer] = image.layers;
    if (layer === undefined) throw new Error('the image has no layer');
    const gate = await bench.origin.gate({ bytesPerSecond });
    const wait = new Samples();
    const whole = new Samples();
    const faults: string[] = [];
    const rounds = bench.short ? 2 : 9;
    for (let round = 0; round < rounds; round += 1) {
      wait.add('upstream', (await waitForBody(gate.url + blobPath(image, layer))) * 1000);
      for (const name of caches(bench)) {
        const cache = await slowCache(bench, name, { image, small });
        wait.add(name, (await waitForBody(cache.server.url + blobPath(image, layer))) * 1000);
        await cache.close();
      }
    }
    for (let round = 0; round < (bench.short ? 1 : 3); round += 1) {
      whole.add('upstream', await timed(() => download(gate.url + blobPath(image, layer))));
      for (const name of caches(bench)) {
        const cache = await slowCache(bench, name, { image, small });
        whole.add(
          name,
          await timed(async () => faults.push(...(await verify(name, cache.server.url, image, layer)))),
        );
        await cache.close();
      }
    }
    await gate.stop();
    const results = [
      wait.toResult({ metric: 'first byte of the body', unit: 'ms', versus: 'upstream', target: within10ms }),
      whole.toResult({
        metric: `all ${size / MiB} MiB at 20 MiB/s`,
        unit: 's',
        versus: 'upstream',
        target: atMost(1.05),
      }),
    ];
    return { results, faults };
  },
};

/** A cache that is empty but for a small image, so that its first fill is not the one measured. */
async function slowCache(
  bench: Bench,
  name: Cache['name'],
  images: { image: Image; small: Image },
): Promise<Cache> {
  const cache = await startCache(bench, name, { bytesPerSecond });
  const { url } = cache.server;
  await fetchManifest(url, images.small);
  for (const blob of images.small.layers) await download(url + blobPath(images.small, blob));
  await fetchManifest(url, images.image);
  await cache.gate.settle();
  return cache;
}

/** Seconds from the request to the first byte of the body (not of the headers); hangs up then. */
async function waitForBody(url: string): Promise<number> {
  const start = process.hrtime.bigint();
  const outgoing = request(url, { agent: false }).end();
  const [response] = (await once(outgoing, 'response')) as [IncomingMessage];
  if (response.statusCode !== 200) throw new Error(`${url}: ${response.statusCode}`);
  await once(response, 'data');
  const seconds = Number(process.hrtime.bigint() - start) / 1e9;
  response.destroy();
  return seconds;
}
