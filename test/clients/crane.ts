import { readFile, rm } from 'node:fs/promises';
import path from 'node:path';
import { type Client, type ClientOptions, type Pulled, pullTimeout } from './client.ts';
import { run } from './process.ts';
import { isolated, programs } from './sandbox.ts';

/** A crane that pulls from the server, by prefix, into an OCI layout; of an index it pulls every platform. */
export async function openCrane(options: ClientOptions): Promise<Client> {
  const { directory, server } = options;
  const folderOf = (reference: string) => path.join(directory, reference.replaceAll(/[/:]/g, '_'));
  const pull = async (reference: string, signal?: AbortSignal): Promise<Pulled> => {
    const crane = [programs.crane, 'pull', '--insecure', '--format', 'oci'];
    const command = await isolated(directory, [...crane, `${server}/${reference}`, folderOf(reference)]);
    const { code, stdout, stderr } = await run(command, { timeout: pullTimeout, signal });
    const said = stdout + stderr;
    if (code !== 0) return { ok: false, digests: [], said };
    const layout: unknown = JSON.parse(await readFile(path.join(folderOf(reference), 'index.json'), 'utf8'));
    return {
      ok: true,
      digests: (layout as { manifests: { digest: string }[] }).manifests.map((one) => one.digest),
      said,
    };
  };
  return {
    name: 'crane',
    pull,
    pullByPrefix: pull,
    remove: (reference) => rm(folderOf(reference), { recursive: true }),
    stop: async () => undefined,
    log: () => '',
  };
}
