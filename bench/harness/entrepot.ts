import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { freePort, type Sandbox, type Server } from './sandbox.ts';

const project = join(import.meta.dirname, '../..');
const entry = process.env['BENCH_ENTRY'] ?? join(project, 'src/main.ts');

/** Whether there is a server to measure. */
export const entrepotExists = (): boolean => existsSync(entry);

/**
 * The server under test, from source or from the built file that `BENCH_ENTRY` names. `BENCH_NODE_ARGS` (split at spaces) goes to its Node, for
 * instance `--cpu-prof --cpu-prof-dir=/tmp/profiles`.
 */
export async function startEntrepot(
  sandbox: Sandbox,
  options: {
    storage: string;
    upstreams: readonly string[];
    logLevel: 'info' | 'warn';
    /** The default when left out. */
    maxConnections?: number;
    /** Further lines of the configuration; with `tls:` among them the server is reached over https. */
    config?: string;
  },
): Promise<Server> {
  const port = await freePort();
  const config = sandbox.path('entrepot.yaml');
  const { maxConnections } = options;
  const upstreams = options.upstreams.map((url) => {
    return JSON.stringify({ url, insecure: true, ...(maxConnections !== undefined && { maxConnections }) });
  });
  const lines = [
    `listen: 127.0.0.1:${port}`,
    `storage: {path: ${options.storage}}`,
    `registries: {docker.io: {upstreams: [${upstreams.join(', ')}], tagTtl: 5m}}`,
    // What is measured is what is asked for.
    'prefetch: false',
    `log: {level: ${options.logLevel}, format: json}`,
    options.config ?? '',
  ];
  const scheme = options.config?.includes('tls:') ? 'https' : 'http';
  writeFileSync(config, `${lines.join('\n')}\n`);
  const nodeArgs = (process.env['BENCH_NODE_ARGS'] ?? '').split(' ').filter(Boolean);
  return sandbox.start({
    name: 'entrepot',
    command: join(project, 'node_modules/.bin/node'),
    // The flag of `npm start`, of the installed command and of the container image.
    args: ['--max-semi-space-size=4', ...nodeArgs, entry, 'serve', '--config', config],
    url: `${scheme}://127.0.0.1:${port}`,
    readyPath: '/livez',
  });
}
