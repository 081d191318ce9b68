import { type Bench, type Benchmark, caches, cpuDuring, startCache } from './harness/bench.ts';
import { type Image, manifestPath, manifestType } from './harness/images.ts';
import { fetchManifest, run, wrk } from './harness/load.ts';
import { type RegistryLogging, startDockerRegistry, startStaticNginx } from './harness/peers.ts';
import type { Result } from './harness/report.ts';
import { atLeast, atMost, Samples } from './harness/samples.ts';
import type { Server } from './harness/sandbox.ts';

const cacheColumn = 'docker-registry';
const plainColumn = 'docker-registry (no proxy)';

type Contender = { party: string; server: Server; close: () => Promise<void> };

/** A cached manifest by tag and by digest, 32 connections: with a log line a request, and without. */
export const hotManifest: Benchmark = {
  name: 'hot-manifest',
  run: async (bench) => {
    const image = await bench.origin.image(
      'app',
      Array.from({ length: 12 }, () => 1000),
    );
    const results: Result[] = [];
    const faults: string[] = [];
    for (const logging of ['access', 'error'] as const) {
      const contenders = await startContenders(bench, image, logging);
      for (const { party, server } of contenders)
        faults.push(...(await verifyManifest(party, server, image)));
      for (const [kind, reference] of [
        ['tag', '1'],
        ['digest', image.manifest.digest],
      ] as const) {
        const measured = await measure(bench, contenders, manifestPath(image, reference));
        faults.push(...measured.faults.map((fault) => `by ${kind}: ${fault}`));
        const what = `by ${kind}, ${logging === 'access' ? 'one log line a request' : 'quiet log'}`;
        const rate = { metric: what, unit: 'req/s' };
        results.push(
          measured.rate.toResult({ ...rate, versus: cacheColumn, target: atLeast(6) }),
          measured.rate.toResult({
            ...rate,
            metric: `${what}, against no proxy`,
            versus: plainColumn,
            target: atLeast(6),
          }),
          measured.cpu.toResult({
            metric: `${what}: server CPU`,
            unit: 'µs/req',
            versus: cacheColumn,
            target: atMost(1),
          }),
        );
      }
      for (const contender of contenders) await contender.close();
    }
    return { results, faults };
  },
};

async function startContenders(bench: Bench, image: Image, logging: RegistryLogging): Promise<Contender[]> {
  const contenders: Contender[] = [];
  for (const name of caches(bench)) {
    const cache = await startCache(bench, name, { logging });
    await fetchManifest(cache.server.url, image);
    contenders.push({ party: name, server: cache.server, close: cache.close });
  }
  const plain = await startDockerRegistry(bench.sandbox, { storage: bench.origin.storage, logging });
  contenders.push({ party: plainColumn, server: plain, close: plain.stop });
  const file = bench.origin.file(image.manifest.digest);
  const references = ['1', image.manifest.digest];
  const files = references.map((reference) => ({
    path: manifestPath(image, reference),
    file,
    type: manifestType,
  }));
  const nginx = await startStaticNginx(bench.sandbox, { files, accessLog: logging === 'access' });
  contenders.push({ party: 'nginx', server: nginx, close: nginx.stop });
  return contenders;
}

async function measure(bench: Bench, contenders: Contender[], path: string) {
  const rate = new Samples();
  const cpu = new Samples();
  const faults: string[] = [];
  const seconds = bench.short ? 1 : 2;
  for (let round = bench.short ? 0 : -1; round < (bench.short ? 1 : 5); round += 1) {
    for (const { party, server } of contenders) {
      let answered = 0;
      const used = await cpuDuring(server, async () => {
        const { requestsPerSecond, bad } = await wrk(server.url + path, seconds);
        answered = requestsPerSecond * seconds;
        if (bad > 0) faults.push(`${party}: ${bad} of ${answered} answers were errors`);
        if (round >= 0) rate.add(party, requestsPerSecond);
      });
      if (round >= 0) cpu.add(party, (used * 1e6) / answered);
    }
  }
  return { rate, cpu, faults };
}

async function verifyManifest(party: string, server: Server, image: Image): Promise<string[]> {
  const script = 'set -o pipefail; curl -sSf -H "Accept: $2" "$1" | sha256sum';
  const url = server.url + manifestPath(image);
  const digest = `sha256:${(await run('bash', ['-c', script, 'verify', url, manifestType])).slice(0, 64)}`;
  return digest === image.manifest.digest ? [] : [`${party} served ${digest} for ${image.manifest.digest}`];
}
