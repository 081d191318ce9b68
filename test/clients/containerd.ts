import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { type Client, type ClientOptions, type Pulled, pullTimeout } from './client.ts';
import { digestsIn } from './dockerd.ts';
import { mustRun, run, startDaemon } from './process.ts';
import { isolated, programs, sidPath } from './sandbox.ts';

/** Which containerd: its programs, how its configuration begins, and what else that says. */
type Flavour = {
  readonly name: string;
  readonly containerd: string;
  readonly ctr: string;
  readonly env: Readonly<Record<string, string>>;
  readonly config: readonly string[];
};

const two = { containerd: programs.containerd2, ctr: programs.ctr2, env: { PATH: sidPath } };
const flavours = {
  c16: {
    name: 'containerd 1.6',
    containerd: programs.containerd16,
    ctr: programs.ctr16,
    env: {},
    config: ['version = 2'],
  },
  c2: { name: 'containerd 2', ...two, config: ['version = 3'] },
  c2ranges: {
    name: 'containerd 2 with parallel ranges',
    ...two,
    config: [
      'version = 3',
      '[plugins."io.containerd.transfer.v1.local"]',
      '  concurrent_layer_fetch_buffer = 8388608',
    ],
  },
} satisfies Record<string, Flavour>;

/** Starts a containerd; its `ctr` finds the server, for any registry, in `_default/hosts.toml` alone. */
export async function startContainerd(key: keyof typeof flavours, options: ClientOptions): Promise<Client> {
  const flavour = flavours[key];
  const { directory, server } = options;
  const socket = path.join(directory, 'containerd.sock');
  const config = path.join(directory, 'config.toml');
  const hosts = path.join(directory, 'registries');
  await mkdir(path.join(hosts, '_default'), { recursive: true });
  await writeFile(
    path.join(hosts, '_default', 'hosts.toml'),
    `[host."http://${server}"]\n  capabilities = ["pull", "resolve"]\n`,
  );
  const [version, ...plugins] = flavour.config;
  await writeFile(
    config,
    [
      version,
      `root = "${path.join(directory, 'root')}"`,
      `state = "${path.join(directory, 'state')}"`,
      `[grpc]\n  address = "${socket}"`,
      `[ttrpc]\n  address = "${socket}.ttrpc"`,
      ...plugins,
      '',
    ].join('\n'),
  );
  const daemon = startDaemon(
    await isolated(directory, [flavour.containerd, '--config', config]),
    flavour.env,
  );
  await daemon.waitFor(/containerd successfully booted/);

  const ctr = (...args: string[]) => [flavour.ctr, '--address', socket, ...args];
  const pull = async (reference: string, flags: readonly string[], signal?: AbortSignal): Promise<Pulled> => {
    const command = ctr('images', 'pull', ...flags, reference);
    const { code, stdout, stderr } = await run(command, { timeout: pullTimeout, signal });
    const said = stdout + stderr;
    if (code !== 0) return { ok: false, digests: [], said };
    const { stdout: listed } = await mustRun(ctr('images', 'list', `name==${reference}`));
    return { ok: true, digests: digestsIn(listed), said };
  };
  let containers = 0;
  return {
    name: flavour.name,
    pull: (reference, signal) => pull(reference, ['--hosts-dir', hosts], signal),
    pullByPrefix: (reference) => pull(`${server}/${reference}`, ['--plain-http']),
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
