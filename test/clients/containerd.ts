import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { type Client, type ClientOptions, namesOf, type Pulled, pullTimeout, trusting } from './client.ts';
import { criIsReady, pullOverCri } from './cri.ts';
import { digestsIn } from './dockerd.ts';
import { boundHosts, mirrorHosts } from './hosts-toml.ts';
import { privateRegistry } from './images.ts';
import { mustRun, run, startDaemon } from './process.ts';
import { isolated, programs, sidPath } from './sandbox.ts';

/** Which containerd: its programs, how its configuration begins, and what else that says. */
type Flavour = {
  readonly name: string;
  readonly containerd: string;
  readonly ctr: string;
  readonly env: Readonly<Record<string, string>>;
  readonly version: 2 | 3;
  readonly config?: readonly string[];
  /** Whether images are pulled as kubelet does, not with `ctr`. */
  readonly cri?: true;
};

const one = { containerd: programs.containerd16, ctr: programs.ctr16, env: {}, version: 2 } as const;
const two = {
  containerd: programs.containerd2,
  ctr: programs.ctr2,
  env: { PATH: sidPath },
  version: 3,
} as const;
const flavours = {
  c16: { ...one, name: 'containerd 1.6' },
  c2: { ...two, name: 'containerd 2' },
  c2ranges: {
    ...two,
    name: 'containerd 2 with parallel ranges',
    config: ['[plugins."io.containerd.transfer.v1.local"]', '  concurrent_layer_fetch_buffer = 8388608'],
  },
  cri16: { ...one, name: 'containerd 1.6 under Kubernetes', cri: true },
  cri: { ...two, name: 'containerd 2 under Kubernetes', cri: true },
} satisfies Record<string, Flavour>;

/** Where the CRI plugin is told of the folder of `hosts.toml` files, by the version of the configuration. */
const criRegistry = {
  2: '[plugins."io.containerd.grpc.v1.cri".registry]',
  3: '[plugins."io.containerd.cri.v1.images".registry]',
} as const;

/** Starts a containerd; it finds the server, for any registry, in `_default/hosts.toml`. */
export async function startContainerd(key: keyof typeof flavours, options: ClientOptions): Promise<Client> {
  const flavour: Flavour = flavours[key];
  const { directory, origin, trusted } = options;
  const { prefix } = namesOf(options);
  const socket = path.join(directory, 'containerd.sock');
  const config = path.join(directory, 'config.toml');
  const hosts = path.join(directory, 'registries');
  await fillHosts(hosts, options);
  await writeFile(
    config,
    [
      `version = ${flavour.version}`,
      `root = "${path.join(directory, 'root')}"`,
      `state = "${path.join(directory, 'state')}"`,
      `[grpc]\n  address = "${socket}"`,
      `[ttrpc]\n  address = "${socket}.ttrpc"`,
      ...(flavour.config ?? []),
      `${criRegistry[flavour.version]}\n  config_path = "${hosts}"`,
      '',
    ].join('\n'),
  );
  const env = { ...flavour.env, ...trusting(trusted) };
  const around = { origin };
  const command = [flavour.containerd, '--config', config];
  const daemon = startDaemon(await isolated(directory, command, around), env);
  await daemon.waitFor(/containerd successfully booted/);
  if (flavour.cri) await criIsReady(socket, AbortSignal.timeout(300_000));

  let secret: { username: string; password: string } | undefined;
  const ctr = (...args: string[]) => {
    return [flavour.ctr, '--address', socket, '--namespace', flavour.cri ? 'k8s.io' : 'default', ...args];
  };
  const ask = async (reference: string, flags: readonly string[], signal?: AbortSignal) => {
    if (flavour.cri) return pullOverCri(socket, reference, secret, signal);
    const user = secret === undefined ? [] : ['--user', `${secret.username}:${secret.password}`];
    const command = ctr('images', 'pull', ...flags, ...user, reference);
    // It is the older ctr itself that connects, not its daemon.
    const wrapped = await isolated(directory, command, around);
    const { code, stdout, stderr } = await run(wrapped, { timeout: pullTimeout, signal, env });
    return { ok: code === 0, said: stdout + stderr };
  };
  const byHosts = ['--hosts-dir', hosts];
  const pull = async (reference: string, flags = byHosts, signal?: AbortSignal): Promise<Pulled> => {
    const told = await ask(reference, flags, signal);
    if (!told.ok) return { ...told, digests: [] };
    const { stdout: listed } = await mustRun(ctr('images', 'list', `name==${reference}`));
    return { ...told, digests: digestsIn(listed) };
  };
  let containers = 0;
  return {
    name: flavour.name,
    pull: (reference, signal) => pull(reference, byHosts, signal),
    pullByPrefix: (reference, signal) => {
      return pull(`${prefix}/${reference}`, options.ca === undefined ? ['--plain-http'] : byHosts, signal);
    },
    login: async (username, password) => {
      secret = { username, password };
      return { ok: true, said: '' };
    },
    remove: async (reference) => {
      await mustRun(ctr('images', 'rm', '--sync', reference));
    },
    run: async (reference) => {
      containers += 1;
      const { stdout } = await mustRun(ctr('run', '--rm', reference, `${key}-${containers}`));
      return stdout.trim();
    },
    stop: daemon.stop,
    log: daemon.output,
  };
}

/** Fills the folder of `hosts.toml` files. */
async function fillHosts(folder: string, options: ClientOptions): Promise<void> {
  const { url, prefix } = namesOf(options);
  const { ca, bound, mirrorLogin } = options;
  const direct = ca === undefined ? `http://${prefix}` : `https://${prefix}`;
  const files = {
    _default: (bound ? boundHosts : mirrorHosts)(url, { ca }),
    ...(mirrorLogin && { [privateRegistry]: boundHosts(url, { ca, login: mirrorLogin }) }),
    [prefix]: boundHosts(direct, { ca }),
  };
  for (const [name, text] of Object.entries(files)) {
    await mkdir(path.join(folder, name), { recursive: true });
    await writeFile(path.join(folder, name, 'hosts.toml'), text);
  }
}
