import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { type Client, type ClientOptions, type Pulled, pullTimeout } from './client.ts';
import { digestsIn } from './dockerd.ts';
import { mustRun, run } from './process.ts';
import { inSidRoot } from './sandbox.ts';

/** A podman 5 whose registries.conf names the server as the mirror of docker.io and ghcr.io. */
export async function openPodman(options: ClientOptions): Promise<Client> {
  const { directory, server } = options;
  const mirrors = ['docker.io', 'ghcr.io'].map((registry) =>
    [
      '[[registry]]',
      `prefix = "${registry}"`,
      `location = "${registry}"`,
      '[[registry.mirror]]',
      `location = "${server}/${registry}"`,
      'insecure = true\n',
    ].join('\n'),
  );
  await writeFile(path.join(directory, 'registries.conf'), mirrors.join('\n'));
  const env = {
    CONTAINERS_REGISTRIES_CONF: '/mnt/registries.conf',
    PODMAN_IGNORE_CGROUPSV1_WARNING: '1',
  };
  const storage = ['--root', '/mnt/root', '--runroot', '/mnt/runroot', '--storage-driver', 'vfs'];
  const podman = (...args: string[]) =>
    inSidRoot(directory, ['podman', ...storage, '--cgroup-manager', 'cgroupfs', ...args]);
  const pull = async (reference: string, flags: readonly string[], signal?: AbortSignal): Promise<Pulled> => {
    const command = await podman('pull', ...flags, reference);
    const { code, stdout, stderr } = await run(command, { timeout: pullTimeout, env, signal });
    const said = stdout + stderr;
    if (code !== 0) return { ok: false, digests: [], said };
    const inspect = await podman('image', 'inspect', '--format', '{{json .RepoDigests}}', reference);
    return { ok: true, digests: digestsIn((await mustRun(inspect, { env })).stdout), said };
  };
  return {
    name: 'podman 5',
    pull: (reference, signal) => pull(reference, [], signal),
    pullByPrefix: (reference) => pull(`${server}/${reference}`, ['--tls-verify=false']),
    remove: async (reference) => {
      await mustRun(await podman('rmi', '--force', reference), { env });
    },
    stop: async () => undefined,
    log: () => '',
  };
}
