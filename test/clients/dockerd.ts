import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { type Client, type ClientOptions, type Pulled, pullTimeout } from './client.ts';
import { mustRun, run, startDaemon } from './process.ts';
import { isolated, programs, sidPath } from './sandbox.ts';

/** Which docker: its key in test names, its programs, and whether images live in its containerd. */
type Flavour = {
  readonly name: string;
  readonly dockerd: string;
  readonly docker: string;
  readonly containerdStore: boolean;
};

const flavours = {
  d20: {
    name: 'dockerd 20.10',
    dockerd: programs.dockerd20,
    docker: programs.docker20,
    containerdStore: false,
  },
  d28: { name: 'dockerd 28', dockerd: programs.dockerd28, docker: programs.docker28, containerdStore: false },
  d28c: {
    name: 'dockerd 28 with containerd store',
    dockerd: programs.dockerd28,
    docker: programs.docker28,
    containerdStore: true,
  },
} satisfies Record<string, Flavour>;

/** Starts a dockerd whose only setting is `registry-mirrors`; resolves when it answers on its socket. */
export async function startDockerd(key: keyof typeof flavours, options: ClientOptions): Promise<Client> {
  const flavour = flavours[key];
  const { directory, server } = options;
  const host = `unix://${path.join(directory, 'docker.sock')}`;
  const config = path.join(directory, 'daemon.json');
  const settings = {
    'registry-mirrors': [`http://${server}`],
    ...(flavour.containerdStore ? { features: { 'containerd-snapshotter': true } } : {}),
  };
  await writeFile(config, JSON.stringify(settings));
  const command = [
    ...[flavour.dockerd, '--config-file', config, '--host', host],
    // dockerd's containerd does not start when these are relative.
    ...['--data-root', path.join(directory, 'data'), '--exec-root', path.join(directory, 'exec')],
    ...['--pidfile', path.join(directory, 'pid')],
    ...['--iptables=false', '--ip6tables=false', '--ip-forward=false', '--bridge=none'],
  ];
  const env = { DOCKER_CONFIG: directory, ...(key === 'd20' ? {} : { PATH: sidPath }) };
  const daemon = startDaemon(await isolated(directory, command), env);
  await daemon.waitFor(/API listen on/);

  const docker = (...args: string[]) => [flavour.docker, '--host', host, ...args];
  const pull = async (reference: string, signal?: AbortSignal): Promise<Pulled> => {
    const command = docker('pull', reference);
    const { code, stdout, stderr } = await run(command, { timeout: pullTimeout, env, signal });
    const said = stdout + stderr;
    if (code !== 0) return { ok: false, digests: [], said };
    const inspect = docker('image', 'inspect', '--format', '{{join .RepoDigests " "}}', reference);
    return { ok: true, digests: digestsIn((await mustRun(inspect, { env })).stdout), said };
  };
  return {
    name: flavour.name,
    pull,
    pullByPrefix: (reference) => pull(`${server}/${reference}`),
    remove: async (reference) => {
      await mustRun(docker('image', 'rm', '--force', reference), { env });
    },
    run: async (reference) => {
      const { stdout } = await mustRun(docker('run', '--rm', '--network', 'none', reference), { env });
      return stdout.trim();
    },
    stop: daemon.stop,
    log: daemon.output,
  };
}

/** The digests in a text, in order of appearance. */
export function digestsIn(text: string): string[] {
  return [...text.matchAll(/sha256:[0-9a-f]{64}/g)].map(([digest]) => digest);
}
