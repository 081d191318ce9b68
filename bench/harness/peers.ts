import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { freePort, type Sandbox, type Server } from './sandbox.ts';

/** How loud a docker-registry is: `access` is the package's default, one access line and one info line a request. */
export type RegistryLogging = 'access' | 'error';

/** A Debian docker-registry: a pull-through cache of `upstream`, or without one a plain registry. */
export async function startDockerRegistry(
  sandbox: Sandbox,
  options: {
    storage: string;
    upstream?: string;
    logging: RegistryLogging;
    /** Paths of a certificate with its key, and of an htpasswd file: serve TLS, to those users only. */
    guard?: { cert: string; key: string; htpasswd: string };
  },
): Promise<Server> {
  const port = await freePort();
  const config = sandbox.path('docker-registry.yaml');
  const quiet = options.logging === 'error';
  const { guard } = options;
  const lines = [
    'version: 0.1',
    `log: {level: ${quiet ? 'error' : 'info'}, accesslog: {disabled: ${quiet}}}`,
    'storage:',
    '  cache: {blobdescriptor: inmemory}',
    `  filesystem: {rootdirectory: ${options.storage}}`,
    '  delete: {enabled: true}',
    `http: {addr: "127.0.0.1:${port}"${guard ? `, tls: {certificate: ${guard.cert}, key: ${guard.key}}` : ''}}`,
    ...(guard ? [`auth: {htpasswd: {realm: bench, path: ${guard.htpasswd}}}`] : []),
    ...(options.upstream === undefined ? [] : [`proxy: {remoteurl: "${options.upstream}"}`]),
  ];
  writeFileSync(config, `${lines.join('\n')}\n`);
  return sandbox.start({
    name: 'docker-registry',
    command: 'docker-registry',
    args: ['serve', config],
    url: `${guard ? 'https' : 'http'}://127.0.0.1:${port}`,
    env: { OTEL_TRACES_EXPORTER: 'none' },
  });
}

/** An nginx with the given `server { … }` blocks; the package's own tuning (sendfile, one worker a core). */
export async function startNginx(
  sandbox: Sandbox,
  options: { name: string; url: string; servers: string[]; readyPath?: string },
): Promise<Server> {
  const root = sandbox.path('nginx');
  mkdirSync(root);
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'];
  const config = `
    daemon off; user root; worker_processes auto; pid ${root}/pid; error_log stderr error;
    events { worker_connections 1024; }
    http {
      ${temporary.map((kind) => `${kind}_temp_path ${root}/${kind};`).join(' ')}
      access_log off; sendfile on; tcp_nopush on; default_type application/octet-stream;
      log_format bytes '$request_method $status $body_bytes_sent $uri';
      ${options.servers.join('\n')}
    }`;
  const file = join(root, 'nginx.conf');
  writeFileSync(file, config);
  return sandbox.start({
    name: options.name,
    command: 'nginx',
    args: ['-p', root, '-c', file],
    url: options.url,
    readyPath: options.readyPath ?? '/v2/',
  });
}

/** nginx serving single files under registry-like paths: the reference for what a static file costs. */
export async function startStaticNginx(
  sandbox: Sandbox,
  options: { files: readonly { path: string; file: string; type: string }[]; accessLog?: boolean },
): Promise<Server> {
  const port = await freePort();
  const locations = options.files.map(
    ({ path, file, type }) => `location = ${path} { alias ${file}; default_type ${type}; }`,
  );
  const log = options.accessLog ? `access_log ${sandbox.path('access.log')};` : '';
  const server = `server { listen 127.0.0.1:${port}; ${log} location = /v2/ { return 200 '{}'; } ${locations.join(' ')} }`;
  return startNginx(sandbox, { name: 'nginx', url: `http://127.0.0.1:${port}`, servers: [server] });
}
