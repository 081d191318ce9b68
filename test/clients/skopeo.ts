import { createHash } from 'node:crypto';
import { readFile, rm } from 'node:fs/promises';
import path from 'node:path';
import { type Client, type ClientOptions, type Pulled, pullTimeout } from './client.ts';
import { run } from './process.ts';
import { inSidRoot } from './sandbox.ts';

/** A skopeo that copies from the server, by prefix, into a directory; of an index it copies every platform. */
export async function openSkopeo(options: ClientOptions): Promise<Client> {
  const { directory, server } = options;
  const pull = async (reference: string, signal?: AbortSignal): Promise<Pulled> => {
    const command = await inSidRoot(directory, [
      ...['skopeo', '--insecure-policy', 'copy', '--all', '--src-tls-verify=false'],
      ...[`docker://${server}/${reference}`, `dir:/mnt/${folderOf(reference)}`],
    ]);
    const { code, stdout, stderr } = await run(command, { timeout: pullTimeout, signal });
    const said = stdout + stderr;
    if (code !== 0) return { ok: false, digests: [], said };
    const manifest = await readFile(path.join(directory, folderOf(reference), 'manifest.json'));
    return { ok: true, digests: [`sha256:${createHash('sha256').update(manifest).digest('hex')}`], said };
  };
  return {
    name: 'skopeo',
    pull,
    pullByPrefix: pull,
    remove: (reference) => rm(path.join(directory, folderOf(reference)), { recursive: true }),
    stop: async () => undefined,
    log: () => '',
  };
}

function folderOf(reference: string): string {
  return reference.replaceAll(/[/:]/g, '_');
}
