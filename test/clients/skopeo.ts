import { createHash } from 'node:crypto';
import { readFile, rm } from 'node:fs/promises';
import path from 'node:path';
import { type Client, type ClientOptions, namesOf, type Pulled, pullTimeout } from './client.ts';
import { containersSurroundings } from './podman.ts';
import { type RunOptions, run } from './process.ts';
import { inSidRoot } from './sandbox.ts';

/**
 * A skopeo that copies from the server, by prefix unless it is bound, into a directory; of an index it copies every
 * platform.
 */
export async function openSkopeo(options: ClientOptions): Promise<Client> {
  const { directory, ca, bound } = options;
  const { prefix } = namesOf(options);
  const { around, env } = await containersSurroundings(options);
  const tell = async (args: readonly string[], options: RunOptions) => {
    const command = await inSidRoot(directory, ['skopeo', '--insecure-policy', ...args], around);
    const { code, stdout, stderr } = await run(command, { timeout: pullTimeout, env, ...options });
    return { ok: code === 0, said: stdout + stderr };
  };
  const pull = async (source: string, reference: string, signal?: AbortSignal): Promise<Pulled> => {
    const plain = ca === undefined ? ['--src-tls-verify=false'] : [];
    const places = [`docker://${source}`, `dir:/mnt/${folderOf(reference)}`];
    const told = await tell(['copy', '--all', ...plain, ...places], { signal });
    if (!told.ok) return { ...told, digests: [] };
    const manifest = await readFile(path.join(directory, folderOf(reference), 'manifest.json'));
    return { ...told, digests: [`sha256:${createHash('sha256').update(manifest).digest('hex')}`] };
  };
  return {
    name: 'skopeo',
    pull: (reference, signal) => pull(bound ? reference : `${prefix}/${reference}`, reference, signal),
    pullByPrefix: (reference, signal) => pull(`${prefix}/${reference}`, reference, signal),
    login: (username, password) => {
      const plain = ca === undefined ? ['--tls-verify=false'] : [];
      const args = ['login', ...plain, '--username', username, '--password-stdin', prefix];
      return tell(args, { input: password });
    },
    remove: (reference) => rm(path.join(directory, folderOf(reference)), { recursive: true }),
    stop: async () => undefined,
    log: () => '',
  };
}

function folderOf(reference: string): string {
  return reference.replaceAll(/[/:]/g, '_');
}
