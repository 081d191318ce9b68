import { copyFile, mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import {
  type Client,
  type ClientOptions,
  hubLoginAuth,
  namesOf,
  type Pulled,
  pullTimeout,
  trusting,
} from './client.ts';
import { digestsIn } from './dockerd.ts';
import { privateRegistry } from './images.ts';
import { mustRun, type RunOptions, run } from './process.ts';
import { inSidRoot, sidRoot } from './sandbox.ts';

/** A podman 5 whose registries.conf names the server as the mirror of docker.io and ghcr.io. */
export async function openPodman(options: ClientOptions): Promise<Client> {
  const { directory } = options;
  const { prefix } = namesOf(options);
  const surroundings = await containersSurroundings(options);
  const env = { ...surroundings.env, PODMAN_IGNORE_CGROUPSV1_WARNING: '1' };
  const storage = ['--root', '/mnt/root', '--runroot', '/mnt/runroot', '--storage-driver', 'vfs'];
  const podman = (...args: string[]) => {
    const command = ['podman', ...storage, '--cgroup-manager', 'cgroupfs', ...args];
    return inSidRoot(directory, command, surroundings.around);
  };
  const tell = async (command: readonly string[], options: RunOptions) => {
    const { code, stdout, stderr } = await run(command, { timeout: pullTimeout, env, ...options });
    return { ok: code === 0, said: stdout + stderr };
  };
  const pull = async (reference: string, flags: readonly string[], signal?: AbortSignal): Promise<Pulled> => {
    const told = await tell(await podman('pull', ...flags, reference), { signal });
    if (!told.ok) return { ...told, digests: [] };
    const inspect = await podman('image', 'inspect', '--format', '{{json .RepoDigests}}', reference);
    return { ...told, digests: digestsIn((await mustRun(inspect, { env })).stdout) };
  };
  const plain = options.ca === undefined ? ['--tls-verify=false'] : [];
  return {
    name: 'podman 5',
    pull: (reference, signal) => pull(reference, [], signal),
    pullByPrefix: (reference, signal) => pull(`${prefix}/${reference}`, plain, signal),
    login: async (username, password) => {
      const command = await podman('login', ...plain, '--username', username, '--password-stdin', prefix);
      return tell(command, { input: password });
    },
    remove: async (reference) => {
      await mustRun(await podman('rmi', '--force', reference), { env });
    },
    stop: async () => undefined,
    log: () => '',
  };
}

/** What podman and skopeo find in the chroot: `/etc/containers`, and where their logins are kept. */
export async function containersSurroundings(options: ClientOptions): Promise<{
  around: Parameters<typeof inSidRoot>[2];
  env: Readonly<Record<string, string>>;
}> {
  const { directory, ca, origin, trusted } = options;
  const { mirror, prefix } = namesOf(options);
  const etc = path.join(directory, 'containers');
  await mkdir(etc);
  await copyFile(path.join(sidRoot, 'etc/containers/policy.json'), path.join(etc, 'policy.json'));
  await writeFile(path.join(etc, 'registries.conf'), registriesConf(options));
  for (const name of ca === undefined ? [] : [mirror, prefix]) {
    await mkdir(path.join(etc, 'certs.d', name), { recursive: true });
    if (ca !== undefined) await copyFile(ca, path.join(etc, 'certs.d', name, 'ca.crt'));
  }
  await writeFile(
    path.join(directory, 'auth.json'),
    JSON.stringify({ auths: { 'docker.io': hubLoginAuth } }),
  );
  if (trusted !== undefined) await copyFile(trusted, path.join(directory, 'trusted.crt'));
  return {
    around: { origin, places: { '/etc/containers': etc } },
    env: { REGISTRY_AUTH_FILE: '/mnt/auth.json', ...trusting(trusted && '/mnt/trusted.crt') },
  };
}

function registriesConf(options: ClientOptions): string {
  const { mirror, prefix } = namesOf(options);
  const plain = options.ca === undefined ? ['insecure = true'] : [];
  const blocks = ['docker.io', 'ghcr.io'].map((registry) => {
    const place = [`location = "${mirror}/${registry}"`, ...plain];
    const lines = options.bound ? place : [`location = "${registry}"`, '[[registry.mirror]]', ...place];
    return ['[[registry]]', `prefix = "${registry}"`, ...lines, ''].join('\n');
  });
  // A mirror is never asked for a login; where one is needed, the registry's name leads to the login host.
  const location = `location = "${prefix}/${privateRegistry}"`;
  blocks.push(['[[registry]]', `prefix = "${privateRegistry}"`, location, ...plain, ''].join('\n'));
  return blocks.join('\n');
}
