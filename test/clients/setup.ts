import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { TestProject } from 'vitest/node';
import { type Images, pushImages } from './images.ts';
import { missingPrograms } from './sandbox.ts';
import { startRegistry } from './upstream.ts';

declare module 'vitest' {
  interface ProvidedContext {
    /** The registries that stand for docker.io and ghcr.io. */
    registryPorts: { dockerHub: number; ghcr: number };
    images: Images;
  }
}

/** Vitest global setup: refuses to begin without every client, then fills the two registries once for all tests. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const missing = missingPrograms();
  if (missing.length > 0) {
    throw new Error(`run .ci/install-clients as root first: there is no ${missing.join(', no ')}`);
  }
  if (process.getuid?.() !== 0) throw new Error('the client tests start container daemons: run them as root');

  const directory = await mkdtemp(path.join(tmpdir(), 'entrepot-registries-'));
  const [hub, ghcr] = await Promise.all([
    startRegistry(path.join(directory, 'docker.io')),
    startRegistry(path.join(directory, 'ghcr.io')),
  ]);
  const ports = { dockerHub: hub.port, ghcr: ghcr.port };
  project.provide('registryPorts', ports);
  project.provide('images', await pushImages(ports));
  return async () => {
    await Promise.all([hub.stop(), ghcr.stop()]);
    await rm(directory, { recursive: true });
  };
}
