import { rm, stat } from 'node:fs/promises';
import { type Bench, type Benchmark, MiB, startCache } from './harness/bench.ts';
import { entrepotExists } from './harness/entrepot.ts';
import type { Image } from './harness/images.ts';
import { askAdmin, run, timed } from './harness/load.ts';
import { startDockerRegistry } from './harness/peers.ts';
import { atMost, Samples } from './harness/samples.ts';

const peer = 'skopeo';

/** An image out into an archive and in from one, beside skopeo between a docker-registry and an `oci-archive`. */
export const bundle: Benchmark = {
  name: 'bundle',
  run: async (bench) => {
    if (!entrepotExists()) throw new Error('there is no entrepot to measure');
    const size = (bench.short ? 8 : 64) * MiB;
    const image = await bench.origin.image('bundle', [size, size, size, size / 8]);
    const m = { out: new Samples(), in: new Samples() };
    const faults: string[] = [];
    const from = await startCache(bench, 'entrepot');
    await askAdmin(from.storage, {
      path: '/api/v1/warm',
      body: { images: [nameOf(image)], referrers: false },
    });
    for (let round = 0; round < (bench.short ? 1 : 5); round += 1) {
      const ours = bench.sandbox.path('ours.tar');
      const theirs = bench.sandbox.path('theirs.tar');
      await settleDisk();
      const request = { path: '/api/v1/export', body: { images: [nameOf(image)] }, output: ours };
      m.out.add('entrepot', await timed(() => askAdmin(from.storage, request)));
      await settleDisk();
      m.out.add(peer, await timed(() => copy(fromOrigin(bench, image), `oci-archive:${theirs}:1`)));
      const { size: written } = await stat(ours);
      if (written < image.layers.reduce((sum, layer) => sum + layer.size, 0))
        faults.push('the bundle lacks layers');
      await importBoth(bench, { ours, theirs, image, m, faults });
      await rm(ours);
      await rm(theirs);
    }
    await from.close();
    return {
      results: [
        m.out.toResult({ metric: 'export: wall', unit: 's', versus: peer, target: atMost(1) }),
        m.in.toResult({ metric: 'import, all verified: wall', unit: 's', versus: peer, target: atMost(1) }),
      ],
      faults,
    };
  },
};

type Both = {
  ours: string;
  theirs: string;
  image: Image;
  m: { in: Samples };
  faults: string[];
};

async function importBoth(bench: Bench, { ours, theirs, image, m, faults }: Both): Promise<void> {
  const into = await startCache(bench, 'entrepot');
  await settleDisk();
  let events = '';
  m.in.add(
    'entrepot',
    await timed(async () => {
      events = await askAdmin(into.storage, { path: '/api/v1/import', upload: ours });
    }),
  );
  if (!events.includes('"kind":"done"')) faults.push(`the import ended with ${events.slice(-300)}`);
  await into.close();
  const storage = bench.sandbox.path('registry');
  const registry = await startDockerRegistry(bench.sandbox, { storage, logging: 'error' });
  await settleDisk();
  const target = `docker://${new URL(registry.url).host}/${image.repository}:1`;
  m.in.add(peer, await timed(() => copy(`oci-archive:${theirs}:1`, target)));
  await registry.stop();
  await rm(storage, { recursive: true, force: true });
}

const nameOf = ({ repository }: Image) => `docker.io/${repository}:1`;

const fromOrigin = ({ origin }: Bench, { repository }: Image) =>
  `docker://${new URL(origin.url).host}/${repository}:1`;

/** What an earlier run left for the disk to write would otherwise be the next one's cost. */
const settleDisk = () => run('sync', []);

function copy(source: string, target: string): Promise<string> {
  const plain = ['--src-tls-verify=false', '--dest-tls-verify=false'];
  return run('skopeo', [
    'copy',
    '--quiet',
    '--insecure-policy',
    '--preserve-digests',
    ...plain,
    source,
    target,
  ]);
}
