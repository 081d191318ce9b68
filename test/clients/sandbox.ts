import { existsSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';

/** Where `.ci/install-clients` puts what this system has no package of. */
export const clientsDir = process.env['ENTREPOT_CLIENTS'] ?? '/var/cache/entrepot-clients';

/** The unpacked packages: newer dockerd, containerd and crane. */
export const sid = path.join(clientsDir, 'sid');

/** The chroot of podman, skopeo and buildah. */
export const sidRoot = path.join(clientsDir, 'sidroot');

/** A minimal root of the older distribution, without Node: what official images are built on. */
export const bookwormRoot = path.join(clientsDir, 'bookworm');

/** Where the newer docker finds its `docker build`. */
export const buildxDir = `${sid}/usr/libexec/docker/cli-plugins`;

/** Every program that the tests run. */
export const programs = {
  dockerd20: '/usr/sbin/dockerd',
  docker20: '/usr/bin/docker',
  containerd16: '/usr/bin/containerd',
  ctr16: '/usr/bin/ctr',
  runc: '/usr/sbin/runc',
  registry: '/usr/bin/docker-registry',
  strace: '/usr/bin/strace',
  busybox: '/bin/busybox',
  dockerd28: `${sid}/usr/sbin/dockerd`,
  docker28: `${sid}/usr/bin/docker`,
  buildx: `${buildxDir}/docker-buildx`,
  containerd2: `${sid}/usr/bin/containerd`,
  ctr2: `${sid}/usr/bin/ctr`,
  crane: `${sid}/usr/bin/crane`,
  podman: `${sidRoot}/usr/bin/podman`,
  skopeo: `${sidRoot}/usr/bin/skopeo`,
} as const;

/** The programs and roots that are not installed. */
export function missingPrograms(): string[] {
  return [...Object.values(programs), bookwormRoot].filter((file) => !existsSync(file));
}

/** The search path with which the newer dockerd finds the containerd of its own generation. */
export const sidPath = `${sid}/usr/bin:${sid}/usr/sbin:/usr/sbin:/usr/bin:/sbin:/bin`;

const origins = ['registry-1.docker.io', 'auth.docker.io', 'index.docker.io', 'docker.io', 'ghcr.io'];

/** The name under which the server takes logins (`access.loginHosts`), where it has a certificate. */
export const loginHost = 'registry.corp.example';

/** The name under which the server is a mirror, where it has a certificate. */
export const mirrorHost = 'mirror.corp.example';

/** What a program finds around it. */
export type Surroundings = {
  /** The address at which the real registries answer; a closed port unless told. */
  readonly origin?: string | undefined;
  /** Folders of the test's that it sees at other places, by those; the places exist. */
  readonly places?: Readonly<Record<string, string>>;
  /** A command that goes before it and enters other namespaces. */
  readonly enter?: readonly string[];
};

// Both namespaces end with the first process in them: no mount and no shim outlives a test, however it ends.
const namespaces = ['unshare', '--mount', '--pid', '--fork', '--kill-child', '--propagation', 'private'];

/** Wraps a command so that it runs in mount and process namespaces of its own, with no way to a real registry. */
export async function isolated(
  directory: string,
  command: readonly string[],
  around: Surroundings = {},
): Promise<string[]> {
  const file = await hostsFile(directory, around);
  const script = `mount -t proc proc /proc; mount --bind "$0" /etc/hosts; ${mounts('', around)} exec "$@"`;
  return [...(around.enter ?? []), ...namespaces, 'sh', '-euc', script, file, ...command];
}

/**
 * As {@link isolated}, inside the chroot of the newer distribution, which stays as it is: everything that a program
 * may write to is temporary, but for `directory`, which it sees as `/mnt`.
 */
export async function inSidRoot(
  directory: string,
  command: readonly string[],
  around: Surroundings = {},
): Promise<string[]> {
  const file = await hostsFile(directory, around);
  await mkdir(path.join(directory, 'tmp'), { recursive: true });
  const script = `
    root=$1 work=$2 hosts=$3; shift 3
    mount -t proc proc "$root/proc"
    mount --rbind /sys "$root/sys"
    mount --rbind /dev "$root/dev"
    for place in dev/shm run tmp; do mount -t tmpfs tmpfs "$root/$place"; done
    mount --bind "$work" "$root/mnt"
    mount --bind "$work/tmp" "$root/var/tmp"
    mount --bind "$hosts" "$root/etc/hosts"
    ${mounts(sidRoot, around)}
    exec chroot "$root" "$@"`;
  const words = ['sh', '-euc', script, 'sh', sidRoot, directory, file];
  return [...(around.enter ?? []), ...namespaces, ...words, ...command];
}

function mounts(root: string, { places = {} }: Surroundings): string {
  const each = Object.entries(places).map(([place, folder]) => `mount --bind '${folder}' '${root}${place}';`);
  return each.join(' ');
}

async function hostsFile(directory: string, { origin = '127.0.0.1' }: Surroundings): Promise<string> {
  const file = path.join(directory, 'hosts');
  // A mirror's clients go on to the real registry in silence when the mirror fails. That road ends where the test
  // says, whether or not the machine has a network, so that it is known where whatever a client pulls came from.
  const names = origins.map((name) => `${origin} ${name}`);
  // docker checks no certificate of 127.0.0.0/8. This address is the same to the kernel, and not to docker.
  const own = [loginHost, mirrorHost].map((name) => `0.0.0.0 ${name}`);
  await writeFile(file, ['127.0.0.1 localhost', ...names, ...own, ''].join('\n'));
  return file;
}
