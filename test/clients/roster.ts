import type { Client, ClientOptions } from './client.ts';
import { startContainerd } from './containerd.ts';
import { openCrane } from './crane.ts';
import { startBuildKit, startDockerd } from './dockerd.ts';
import { openPodman } from './podman.ts';
import { openSkopeo } from './skopeo.ts';

/** How each client is started, by a short key. */
export const roster = {
  d20: (options) => startDockerd('d20', options),
  d28: (options) => startDockerd('d28', options),
  d28c: (options) => startDockerd('d28c', options),
  c16: (options) => startContainerd('c16', options),
  c2: (options) => startContainerd('c2', options),
  c2ranges: (options) => startContainerd('c2ranges', options),
  build: (options) => startBuildKit('d28', options),
  buildc: (options) => startBuildKit('d28c', options),
  cri16: (options) => startContainerd('cri16', options),
  cri: (options) => startContainerd('cri', options),
  podman: openPodman,
  skopeo: openSkopeo,
  crane: openCrane,
} satisfies Record<string, (options: ClientOptions) => Promise<Client>>;

/** The key of a client. */
export type ClientKey = keyof typeof roster;

/** Eight different clients, each as its distribution configures it. */
export const clientKeys = [
  'd20',
  'd28',
  'd28c',
  'c16',
  'c2',
  'podman',
  'skopeo',
  'crane',
] as const satisfies ClientKey[];
