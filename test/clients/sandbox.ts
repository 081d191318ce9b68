import { existsSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';

/** Where `.ci/install-clients` puts what this system has no package of. */
export const clientsDir = process.env['ENTREPOT_CLIENTS'] ?? '/var/cache/entrepot-clients';

/** The unpacked packages: newer dockerd, containerd and crane. */
export const sid = path.join(clientsDir, 'sid');

/** The chroot of podman, skopeo and buildah. */
export const sidRoot = path.join(clientsDir, 'sidroot');

/** Every program that the tests run. */
export const programs = {
  dockerd20: '/usr/sbin/dockerd',
  docker20: '/usr/bin/docker',
  containerd16: '/usr/bin/containerd',
  ctr16: '/usr/bin/ctr',
  runc: '/usr/sbin/runc',
  registry: '/usr/bin/docker-registry',
  busybox: '/bin/busybox',
  dockerd28: `${sid}/usr/sbin/dockerd`,
  docker28: `${sid}/usr/bin/docker`,
  containerd2: `${sid}/usr/bin/containerd`,
  ctr2: `${sid}/usr/bin/ctr`,
  crane: `${sid}/usr/bin/crane`,
  podman: `${sidRoot}/usr/bin/podman`,
  skopeo: `${sidRoot}/usr/bin/skopeo`,
} as const;

/** The programs that are not installed. */
export function missingPrograms(): string[] {
  return Object.values(programs).filter((file) => !existsSync(file));
}

/** The search path with which the newer dockerd finds the containerd of its own generation. */
export const sidPath = `${sid}/usr/bin:${sid}/usr/sbin:/usr/sbin:/usr/bin:/sbin:/bin`;

const origins = ['registry-1.docker.io', 'auth.docker.io', 'index.docker.io', 'docker.io', 'ghcr.io'];

// A mirror's clients go on to the real registry in silence when the mirror fails. Here that road ends at a closed
// port, whether or not the machine has a network, so whatever a client pulls came through the server under test.
const hosts = `127.0.0.1 localhost\n${origins.map((name) => `127.0.0.1 ${name}\n`).join('')}`;

// Both namespaces end with the first process in them: no mount and no shim outlives a test, however it ends.
const namespaces = ['unshare', '--mount', '--pid', '--fork', '--kill-child', '--propagation', 'private'];

/** Wraps a command so that it runs in mount and process namespaces of its own, with no way to a real registry. */
export async function isolated(directory: string, command: readonly string[]): Promise<string[]> {
  const file = await hostsFile(directory);
  const script = 'mount -t proc proc /proc; mount --bind "$0" /etc/hosts; exec "$@"';
  return [...namespaces, 'sh', '-euc', script, file, ...command];
}

/**
 * As {@link isolated}, inside the chroot of the newer distribution, which stays as it is: everything that a program
 * may write to is temporary, but for `directory`, which it sees as `/mnt`.
 */
export async function inSidRoot(directory: string, command: readonly string[]): Promise<string[]> {
  const file = await hostsFile(directory);
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
    exec chroot "$root" "$@"`;
  return [...namespaces, 'sh', '-euc', script, 'sh', sidRoot, directory, file, ...command];
}

async function hostsFile(directory: string): Promise<string> {
  const file = path.join(directory, 'hosts');
  await writeFile(file, hosts);
  return file;
}
