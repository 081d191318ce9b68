import { readFile, rm } from 'node:fs/promises';
import path from 'node:path';
import { type Client, type ClientOptions, namesOf, type Pulled, pullTimeout, trusting } from './client.ts';
import { type RunOptions, run } from './process.ts';
import { isolated, programs } from './sandbox.ts';

/** A crane that pulls from the server, by prefix, into an OCI layout; of an index it pulls every platform. */
export async function openCrane(options: ClientOptions): Promise<Client> {
  const { directory, ca } = options;
  const { prefix } = namesOf(options);
  const env = { DOCKER_CONFIG: directory, ...trusting(ca) };
  const folderOf = (reference: string) => path.join(directory, reference.replaceAll(/[/:]/g, '_'));
  const tell = async (args: readonly string[], options: RunOptions) => {
    const command = await isolated(directory, [programs.crane, ...args]);
    const { code, stdout, stderr } = await run(command, { timeout: pullTimeout, env, ...options });
    return { ok: code === 0, said: stdout + stderr };
  };
  const pull = async (reference: string, signal?: AbortSignal): Promise<Pulled> => {
    const flags = [...(ca === undefined ? ['--insecure'] : []), '--format', 'oci'];
    const told = await tell(['pull', ...flags, `${prefix}/${reference}`, folderOf(reference)], { signal });
    if (!told.ok) return { ...told, digests: [] };
    const layout: unknown = JSON.parse(await readFile(path.join(folderOf(reference), 'index.json'), 'utf8'));
    const { manifests } = layout as { manifests: { digest: string }[] };
    return { ...told, digests: manifests.map((one) => one.digest) };
  };
  return {
    name: 'crane',
    pull,
    pullByPrefix: pull,
    login: (username, password) =>
      tell(['auth', 'login', prefix, '--username', username, '--password-stdin'], { input: password }),
    remove: (reference) => rm(folderOf(reference), { recursive: true }),
    stop: async () => undefined,
    log: () => '',
  };
}
