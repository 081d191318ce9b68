import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { type Finished, mustRun, type RunOptions, run, startDaemon } from './process.ts';
import { buildxDir, isolated, programs, type Surroundings, sidPath } from './sandbox.ts';

/** Which docker: its name in test reports, its programs, and whether images live in its containerd. */
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

/** The key of a docker. */
export type DockerKey = keyof typeof flavours;

/** How one command is run. */
type CommandOptions = Pick<RunOptions, 'timeout' | 'signal' | 'input'>;

/** A running dockerd with a data root and a command line of its own. */
export type DockerEngine = {
  readonly name: string;
  /** A `docker` command line that speaks to it, for {@link startDaemon} with {@link DockerEngine.env}. */
  command(...args: string[]): string[];
  readonly env: Readonly<Record<string, string>>;
  /** Runs `docker` with the arguments, whatever its exit code. */
  run(args: readonly string[], options?: CommandOptions): Promise<Finished>;
  /** Runs `docker` with the arguments; rejects with what it said when it fails. */
  mustRun(args: readonly string[], options?: CommandOptions): Promise<Finished>;
  /** Ends it and its containers; its files stay. */
  stop(): Promise<void>;
  log(): string;
};

/** What a dockerd and its `docker` are given beside a place to work. */
export type DockerEngineOptions = {
  /** Keys of `daemon.json`. */
  readonly settings?: Readonly<Record<string, unknown>>;
  /** The `auths` of the client's `config.json`. */
  readonly auths?: Readonly<Record<string, unknown>>;
  readonly env?: Readonly<Record<string, string>>;
  readonly around?: Surroundings;
};

/** Starts a dockerd that works under `directory`, an absolute path; resolves when it answers on its socket. */
export async function startDockerEngine(
  key: DockerKey,
  directory: string,
  { settings, auths, env: further, around }: DockerEngineOptions = {},
): Promise<DockerEngine> {
  const flavour = flavours[key];
  const host = `unix://${path.join(directory, 'docker.sock')}`;
  const config = path.join(directory, 'daemon.json');
  const clientConfig = path.join(directory, 'client');
  const features = flavour.containerdStore ? { features: { 'containerd-snapshotter': true } } : {};
  await mkdir(clientConfig);
  await writeFile(config, JSON.stringify({ ...settings, ...features }));
  await writeFile(
    path.join(clientConfig, 'config.json'),
    JSON.stringify({ cliPluginsExtraDirs: [buildxDir], auths }),
  );
  const command = [
    ...[flavour.dockerd, '--config-file', config, '--host', host],
    // dockerd's containerd does not start when these are relative.
    ...['--data-root', path.join(directory, 'data'), '--exec-root', path.join(directory, 'exec')],
    ...['--pidfile', path.join(directory, 'pid')],
    ...['--iptables=false', '--ip6tables=false', '--ip-forward=false', '--bridge=none'],
  ];
  const env = {
    DOCKER_CONFIG: clientConfig,
    DOCKER_BUILDKIT: '1',
    ...(key === 'd20' ? {} : { PATH: sidPath }),
    ...further,
  };
  const daemon = startDaemon(await isolated(directory, command, around), env);
  await daemon.waitFor(/API listen on/);

  const docker = (...args: string[]) => [flavour.docker, '--host', host, ...args];
  return {
    name: flavour.name,
    command: docker,
    env,
    run: (args, options) => run(docker(...args), { ...options, env }),
    mustRun: (args, options) => mustRun(docker(...args), { ...options, env }),
    stop: daemon.stop,
    log: daemon.output,
  };
}
