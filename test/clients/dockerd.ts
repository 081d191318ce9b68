import { copyFile, mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import {
  type Client,
  type ClientOptions,
  hubLoginAuth,
  namesOf,
  type Pulled,
  pullTimeout,
  type Told,
  trusting,
} from './client.ts';
import { type DockerKey, startDockerEngine } from './docker-engine.ts';
import { boundHosts } from './hosts-toml.ts';
import { type Finished, run } from './process.ts';
import { isolated } from './sandbox.ts';

/** Starts a dockerd that has the server in `registry-mirrors`; resolves when it answers on its socket. */
export function startDockerd(key: DockerKey, options: ClientOptions): Promise<Client> {
  return start(key, options, 'pull');
}

/** As {@link startDockerd}, but an image is pulled by a build that begins from it. */
export function startBuildKit(key: DockerKey, options: ClientOptions): Promise<Client> {
  return start(key, options, 'build');
}

async function start(key: DockerKey, options: ClientOptions, way: 'pull' | 'build'): Promise<Client> {
  const { directory, origin, trusted, bound } = options;
  const { url, prefix } = namesOf(options);
  const etc = path.join(directory, 'etc-docker');
  await mkdir(etc);
  await fillCertsDirectory(path.join(etc, 'certs.d'), options);
  const around = { origin, places: { '/etc/docker': etc } };
  const engine = await startDockerEngine(key, directory, {
    settings: bound ? {} : { 'registry-mirrors': [url] },
    auths: { 'https://index.docker.io/v1/': hubLoginAuth },
    env: trusting(trusted),
    around,
  });
  const pull = async (reference: string, signal?: AbortSignal): Promise<Pulled> => {
    const told = toldBy(await engine.run(['pull', reference], { timeout: pullTimeout, signal }));
    if (!told.ok) return { ...told, digests: [] };
    const inspect = ['image', 'inspect', '--format', '{{join .RepoDigests " "}}', reference];
    return { ...told, digests: digestsIn((await engine.mustRun(inspect)).stdout) };
  };
  const build = async (reference: string, signal?: AbortSignal): Promise<Pulled> => {
    const input = `FROM ${reference}\n`;
    const command = engine.command('build', '--no-cache', '--pull', '--progress=plain', '-');
    // It is the command, not the daemon, that asks for BuildKit's tokens.
    const wrapped = await isolated(directory, command, around);
    const finished = await run(wrapped, { timeout: pullTimeout, env: engine.env, signal, input });
    return { ...toldBy(finished), digests: [] };
  };
  const get = way === 'pull' ? pull : build;
  return {
    name: way === 'pull' ? engine.name : `BuildKit in ${engine.name}`,
    pull: get,
    pullByPrefix: (reference, signal) => get(`${prefix}/${reference}`, signal),
    login: async (username, password) => {
      const command = ['login', '--username', username, '--password-stdin', prefix];
      return toldBy(await engine.run(command, { input: password }));
    },
    remove: async (reference) => {
      await engine.mustRun(['image', 'rm', '--force', reference]);
    },
    run: async (reference) => {
      const { stdout } = await engine.mustRun(['run', '--rm', '--network', 'none', reference]);
      return stdout.trim();
    },
    stop: engine.stop,
    log: engine.log,
  };
}

function toldBy({ code, stdout, stderr }: Finished): Told {
  return { ok: code === 0, said: stdout + stderr };
}

/** Fills `/etc/docker/certs.d`: whom to trust, and what stands in place of a registry. */
async function fillCertsDirectory(folder: string, options: ClientOptions): Promise<void> {
  const { url, mirror, prefix } = namesOf(options);
  for (const name of [mirror, prefix]) {
    if (options.ca === undefined) continue;
    await mkdir(path.join(folder, name), { recursive: true });
    await copyFile(options.ca, path.join(folder, name, 'ca.crt'));
  }
  if (!options.bound) return;
  await mkdir(path.join(folder, 'docker.io'), { recursive: true });
  await writeFile(path.join(folder, 'docker.io', 'hosts.toml'), boundHosts(url, { ca: options.ca }));
}

/** The digests in a text, in order of appearance. */
export function digestsIn(text: string): string[] {
  return [...text.matchAll(/sha256:[0-9a-f]{64}/g)].map(([digest]) => digest);
}
