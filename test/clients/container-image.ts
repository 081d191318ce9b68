import { cp, mkdir, readFile, symlink, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { stringify } from 'yaml';
import type { DockerEngine } from './docker-engine.ts';
import { npmFolder, npmSettings } from './npm-settings.ts';
import { type Daemon, mustRun, startDaemon } from './process.ts';
import { bookwormRoot } from './sandbox.ts';

const repository = path.join(import.meta.dirname, '../..');
const image = 'entrepot:test';
const volume = 'storage';

/** What all builds share: a stand-in for the base image that the Dockerfile names, and how npm reaches its registry. */
export type BuildMaterial = { readonly base: string; readonly archive: string; readonly npmrc: string };

/**
 * Makes a root like that of the official Node image under `directory`: Debian's minimal one without certificates or a
 * compiler, the Node that runs this, this machine's npm, and the user `node`.
 * @throws when the Dockerfile is based on something else than what can be made here
 */
export async function makeBuildMaterial(directory: string): Promise<BuildMaterial> {
  const base = await baseImage();
  const local = path.join(directory, 'usr/local');
  await mkdir(path.join(local, 'bin'), { recursive: true });
  await cp(process.execPath, path.join(local, 'bin/node'));
  await cp(await npmFolder(), path.join(local, 'lib/node_modules/npm'), { recursive: true });
  await symlink('../lib/node_modules/npm/bin/npm-cli.js', path.join(local, 'bin/npm'));
  const archive = path.join(directory, 'base.tar');
  // Each path once: docker refuses an archive that names one again.
  const added = ['bin/node', 'bin/npm', 'lib/node_modules'].map((name) => `./usr/local/${name}`);
  await mustRun(['tar', '--create', '--file', archive, '-C', bookwormRoot, '.', '-C', directory, ...added]);
  const npmrc = path.join(directory, 'npmrc');
  await writeFile(npmrc, await npmSettings(), { mode: 0o600 });
  return { base, archive, npmrc };
}

async function baseImage(): Promise<string> {
  const dockerfile = await readFile(path.join(repository, 'Dockerfile'), 'utf8');
  const bases = new Set([...dockerfile.matchAll(/^FROM (\S+)/gm)].map(([, name]) => name));
  const made = `node:${process.version.slice(1).split('.')[0]}-bookworm-slim`;
  if (bases.size === 1 && bases.has(made)) return made;
  throw new Error(`the Dockerfile builds on ${[...bases].join(', ')}; the stand-in made here is ${made}`);
}

/** Builds the image of the Dockerfile with `docker build`, on the stand-in under the name that FROM gives it. */
export async function buildImage(
  engine: DockerEngine,
  { base, archive, npmrc }: BuildMaterial,
): Promise<void> {
  await engine.mustRun(['import', archive, base]);
  const options = ['--progress', 'plain', '--network', 'host', '--secret', `id=npmrc,src=${npmrc}`];
  await engine.mustRun(['build', ...options, '--tag', image, repository], { timeout: 600_000 });
}

/** What `sh -c script` prints as root in a fresh container of the image. */
export async function inImage(engine: DockerEngine, script: string): Promise<string> {
  const entry = ['--user', 'root', '--entrypoint', 'sh'];
  const command = ['run', '--rm', '--network', 'none', ...entry, image, '-c', script];
  return (await engine.mustRun(command)).stdout.trim();
}

/** A container of the image: locked down as far as an operator can, and its storage in one volume for all of them. */
export type Container = {
  /** Resolves when HEALTHCHECK found it healthy. */
  healthy(): Promise<void>;
  /** Runs a program inside, as the image's own user, and returns what it prints. */
  exec(...command: string[]): Promise<string>;
  /** `docker stop`: SIGTERM, SIGKILL 30 seconds later. Resolves to the exit code. */
  stop(): Promise<number>;
  /** What it logged so far. */
  log(): string;
};

/** Starts a container that serves `127.0.0.1:port` before an upstream of docker.io; resolves when it listens. */
export async function startContainer(
  engine: DockerEngine,
  options: {
    readonly name: string;
    readonly directory: string;
    readonly port: number;
    readonly upstream: string;
  },
): Promise<Container> {
  const { name, directory, port, upstream } = options;
  const config = path.join(directory, 'config.yaml');
  const upstreams = [{ url: upstream, insecure: true, maxConnections: 1 }];
  const settings = { listen: `127.0.0.1:${port}`, registries: { 'docker.io': { upstreams } } };
  await writeFile(config, stringify(settings), { mode: 0o644 });
  await engine.mustRun([
    ...['run', '--detach', '--name', name, '--network', 'host'],
    ...['--read-only', '--cap-drop', 'ALL', '--security-opt', 'no-new-privileges'],
    ...['--volume', `${volume}:/app/storage`, '--volume', `${config}:/app/config.yaml:ro`],
    ...['--env', `ENTREPOT_READY_URL=http://127.0.0.1:${port}/readyz`],
    image,
  ]);
  const follow = (...args: string[]): Daemon => startDaemon(engine.command(...args), engine.env);
  const logs = follow('logs', '--follow', name);
  await logs.waitFor(/"msg":"listening"/);
  return {
    healthy: async () => {
      // From the first event on: it may have become healthy already.
      const events = follow('events', '--since', '1', '--filter', `container=${name}`);
      await events.waitFor(/health_status: healthy/);
      await events.stop();
    },
    exec: async (...command) => (await engine.mustRun(['exec', name, ...command])).stdout.trim(),
    stop: async () => {
      await engine.mustRun(['stop', name]);
      const { stdout } = await engine.mustRun(['inspect', '--format', '{{.State.ExitCode}}', name]);
      return Number(stdout);
    },
    log: logs.output,
  };
}
