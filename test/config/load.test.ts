import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { Config } from '../../src/config/config.ts';
import { loadConfig, resolveConfigFile } from '../../src/config/load.ts';
import { localhostTls } from '../upstream/tls-fixture.ts';
import { folderWith } from './complaints.ts';

const hash = '$2b$10$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy';
const pem = '-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n';

function load(yaml: string, env: Record<string, string> = {}, files: Record<string, string> = {}): Config {
  const folder = folderWith({ ...files, 'config.yaml': yaml });
  return loadConfig({ file: join(folder, 'config.yaml'), env, cwd: '/elsewhere' });
}

const plainUpstream = {
  tags: true,
  insecure: false,
  connectTimeout: 5000,
  headersTimeout: 30_000,
  stallTimeout: 30_000,
  minSpeed: 16_384,
  maxConnections: 4,
  trustedRealms: [],
};
const oneUpstream = (text: string) => `registries: {docker.io: {upstreams: [{${text}}]}}`;
const firstUpstream = (config: Config) => config.registries['docker.io']?.upstreams[0];

describe('without a file', () => {
  const config = loadConfig({ env: {}, cwd: '/srv/entrepot' });

  test('every key has its default, in milliseconds and bytes', () => {
    const { registries, ...rest } = config;
    expect(rest).toEqual({
      listen: { host: '0.0.0.0', port: 5000 },
      storage: { path: '/srv/entrepot/storage' },
      defaultRegistry: 'docker.io',
      offline: false,
      prefetch: true,
      sync: [],
      policy: { default: 'allow', rules: [], digests: 'provenance', failClosed: false },
      access: {
        anonymous: [{ images: ['**'], actions: ['pull'] }],
        users: {},
        htpasswdGrants: [],
        loginHosts: [],
        passthrough: false,
      },
      limits: { manifestSize: 4_194_304, connections: 64 },
      server: { writeStallTimeout: 60_000, drainDelay: 0, drainTimeout: 25_000 },
      log: { level: 'info', format: 'json' },
      outboundProxy: { noProxy: [] },
    });
    expect(registries['docker.io']).toEqual({
      upstreams: [{ url: 'https://registry-1.docker.io', ...plainUpstream }],
      hosts: [],
      tagTtl: 300_000,
      negativeTtl: 30_000,
    });
  });

  test('the six public registries are served', () => {
    const urls = Object.entries(config.registries).map(([name, { upstreams }]) => [name, upstreams[0]?.url]);
    expect(Object.fromEntries(urls)).toEqual({
      'docker.io': 'https://registry-1.docker.io',
      'ghcr.io': 'https://ghcr.io',
      'quay.io': 'https://quay.io',
      'registry.k8s.io': 'https://registry.k8s.io',
      'mcr.microsoft.com': 'https://mcr.microsoft.com',
      'gcr.io': 'https://gcr.io',
    });
  });

  test('the result is frozen all the way down', () => {
    const unfrozen = (node: unknown, path: string): string[] => {
      if (typeof node !== 'object' || node === null) return [];
      const inner = Object.entries(node).flatMap(([key, child]) => unfrozen(child, `${path}/${key}`));
      return Object.isFrozen(node) ? inner : [path, ...inner];
    };
    expect(unfrozen(config, '')).toEqual([]);
  });

  test('no registry is found under a name that every object has', () => {
    expect(config.registries['constructor']).toBeUndefined();
    expect(config.registries['toString']).toBeUndefined();
    expect(config.access.users['constructor']).toBeUndefined();
  });
});

describe('with a file', () => {
  test('an empty file, or one of remarks only, is no file but for the folder', () => {
    const bare = { ...loadConfig({ env: {}, cwd: '/' }), storage: undefined };
    expect({ ...load(''), storage: undefined }).toEqual(bare);
    expect({ ...load('# nothing\n---\n'), storage: undefined }).toEqual(bare);
  });

  test('every key is read', () => {
    const config = load(
      `
listen: "[::1]:0"
storage: {path: cache/here}
defaultRegistry: registry.corp:5000
offline: true
prefetch: false
sync:
  - {image: registry.corp:5000/org/app, tags: "v*", platforms: [linux/arm/v7], schedule: "@daily", jitter: 0s}
registries:
  registry.corp:5000:
    upstreams:
      - {url: "http://Mirror.LAN:80/", insecure: true, tags: false, connectTimeout: 250ms, minSpeed: off}
      - url: https://harbor.corp/dockerhub/
        username: \${USER_NAME}
        password: \${file:secret}
        ca: certs/corp.pem
        headersTimeout: 1m30s
        stallTimeout: 24d
        minSpeed: 1.5KiB
        maxConnections: 32
        maxBandwidth: 20MB
        trustedRealms: [auth.corp, "https://auth.corp:5001"]
      - {url: "https://c.example", dockerConfig: secrets/docker.json}
      - {url: "https://d.example", credentialHelper: ecr-login}
    hosts: [docker.corp, "docker.corp:5000"]
    tagTtl: 0s
    negativeTtl: 1h
policy:
  default: deny
  rules:
    - {images: "docker.io/**", action: allow}
    - {images: ["**"], tags: latest, action: deny, reason: pin it}
    - images: "{ghcr.io,quay.io}/org/**"
      tags: ["3.*", "/^v[0-9]+$/"]
      semver: ">=v3.10 <4 || 5.x"
      digests: "sha256:${'a'.repeat(64)}"
      action: allow
      pin: true
      minAge: 3d12h
  digests: deny
  failClosed: true
  lockfile: locks/images.yaml
access:
  anonymous: []
  users:
    ci: {passwordHash: "\${HASH}", grants: [pull, {images: registry.corp:5000/ci/**, actions: [push, delete]}]}
    ops: {grants: [{images: ["**"], actions: admin}]}
  htpasswd: secrets/htpasswd
  htpasswdGrants: [pull]
  loginHosts: [registry.corp, "registry.corp:5000", "[::1]:5000"]
  realm: https://Registry.corp/token
  passthrough: true
tls: {cert: certs/server.pem, key: certs/server.key}
limits: {manifestSize: 8MiB, connections: 1, maxBandwidth: "\${CAP}"}
server: {writeStallTimeout: 10s, drainDelay: 10s, drainTimeout: 0s}
log: {level: silent, format: text}
`,
      { USER_NAME: 'robot$ci', CAP: '64KiB', HASH: hash },
      {
        secret: 'pass word\n',
        'certs/corp.pem': pem,
        'secrets/docker.json': '{"auths": {}}',
        'secrets/htpasswd': `# users\n\nops:${hash}\r\n`,
        'locks/images.yaml': `version: 1\nimages: {docker.io/library/python: {3.10: {digest: "sha256:${'b'.repeat(64)}"}}}`,
        'certs/server.pem': localhostTls.cert,
        'certs/server.key': localhostTls.key,
      },
    );
    const relative: unknown = JSON.parse(
      JSON.stringify(config).replaceAll(/\/[^"]*entrepot-config-\w+/g, ''),
    );
    expect(relative).toEqual({
      listen: { host: '::1', port: 0 },
      storage: { path: '/cache/here' },
      defaultRegistry: 'registry.corp:5000',
      offline: true,
      prefetch: false,
      sync: [
        {
          image: 'registry.corp:5000/org/app',
          tags: ['v*'],
          platforms: ['linux/arm/v7'],
          schedule: '@daily',
          jitter: 0,
        },
      ],
      registries: {
        'registry.corp:5000': {
          upstreams: [
            {
              url: 'http://mirror.lan',
              tags: false,
              insecure: true,
              connectTimeout: 250,
              headersTimeout: 30_000,
              stallTimeout: 30_000,
              minSpeed: 0,
              maxConnections: 4,
              trustedRealms: [],
            },
            {
              url: 'https://harbor.corp/dockerhub',
              tags: true,
              insecure: false,
              username: 'robot$ci',
              password: 'pass word',
              ca: pem,
              connectTimeout: 5000,
              headersTimeout: 90_000,
              stallTimeout: 2_073_600_000,
              minSpeed: 1536,
              maxConnections: 32,
              maxBandwidth: 20_000_000,
              trustedRealms: ['auth.corp', 'https://auth.corp:5001'],
            },
            { ...plainUpstream, url: 'https://c.example', dockerConfig: '/secrets/docker.json' },
            { ...plainUpstream, url: 'https://d.example', credentialHelper: 'ecr-login' },
          ],
          hosts: ['docker.corp', 'docker.corp:5000'],
          tagTtl: 0,
          negativeTtl: 3_600_000,
        },
      },
      policy: {
        default: 'deny',
        rules: [
          { images: ['docker.io/**'], action: 'allow' },
          { images: ['**'], tags: ['latest'], action: 'deny', reason: 'pin it' },
          {
            images: ['{ghcr.io,quay.io}/org/**'],
            tags: ['3.*', '/^v[0-9]+$/'],
            semver: '>=v3.10 <4 || 5.x',
            digests: [`sha256:${'a'.repeat(64)}`],
            action: 'allow',
            pin: true,
            minAge: 302_400_000,
          },
        ],
        digests: 'deny',
        failClosed: true,
        lockfile: {
          path: '/locks/images.yaml',
          images: { 'docker.io/library/python': { '3.10': { digest: `sha256:${'b'.repeat(64)}` } } },
        },
      },
      access: {
        anonymous: [],
        users: {
          ci: {
            passwordHash: hash,
            grants: [
              { images: ['**'], actions: ['pull'] },
              { images: ['registry.corp:5000/ci/**'], actions: ['push', 'delete'] },
            ],
          },
          ops: { grants: [{ images: ['**'], actions: ['admin'] }] },
        },
        htpasswd: '/secrets/htpasswd',
        htpasswdGrants: [{ images: ['**'], actions: ['pull'] }],
        loginHosts: ['registry.corp', 'registry.corp:5000', '[::1]:5000'],
        realm: 'https://registry.corp/token',
        passthrough: true,
      },
      tls: { certFile: '/certs/server.pem', keyFile: '/certs/server.key' },
      limits: { manifestSize: 8_388_608, connections: 1, maxBandwidth: 65_536 },
      server: { writeStallTimeout: 10_000, drainDelay: 10_000, drainTimeout: 0 },
      log: { level: 'silent', format: 'text' },
      outboundProxy: { noProxy: [] },
    });
  });

  test('a relative file is found in the working folder', () => {
    const folder = folderWith({ 'etc/e.yaml': 'storage: {path: x}' });
    expect(loadConfig({ file: 'etc/e.yaml', env: {}, cwd: folder }).storage.path).toBe(join(folder, 'etc/x'));
  });

  test('an absolute storage path stays', () => {
    expect(load('storage: {path: /var/lib/entrepot}').storage.path).toBe('/var/lib/entrepot');
  });

  test('anchors and aliases may be used', () => {
    const config = load(`
registries:
  docker.io: {upstreams: &u [{url: "https://\${HOST:-a.example}"}]}
  ghcr.io: {upstreams: *u}
`);
    expect(config.registries['ghcr.io']?.upstreams[0]?.url).toBe('https://a.example');
  });

  test.each([
    ['https://h.example', 'https://h.example'],
    ['https://h.example:443/', 'https://h.example'],
    ['https://h.example:8443/a/b-c//', 'https://h.example:8443/a/b-c'],
    ['https://[::1]:5000', 'https://[::1]:5000'],
  ])('the upstream %s is normalised', (url, expected) => {
    expect(firstUpstream(load(oneUpstream(`url: "${url}"`)))?.url).toBe(expected);
  });
});

describe('the proxies of the environment', () => {
  const proxyOf = (env: Record<string, string>) => loadConfig({ env, cwd: '/' }).outboundProxy;

  test('are read in upper case first, and an empty one is none', () => {
    expect(
      proxyOf({
        HTTPS_PROXY: 'http://a:1',
        https_proxy: 'http://b:1',
        HTTP_PROXY: '',
        http_proxy: 'http://c:1',
      }),
    ).toEqual({ https: 'http://a:1/', http: 'http://c:1/', noProxy: [] });
  });

  test('may be written without a scheme and with credentials', () => {
    expect(proxyOf({ https_proxy: 'proxy.corp:3128', HTTP_PROXY: 'https://u:p@proxy.corp' })).toEqual({
      https: 'http://proxy.corp:3128/',
      http: 'https://u:p@proxy.corp/',
      noProxy: [],
    });
  });

  test('leave out the hosts of NO_PROXY', () => {
    expect(proxyOf({ NO_PROXY: ' localhost,.Corp.example, 10.0.0.0/8 ,,*' }).noProxy).toEqual([
      'localhost',
      '.corp.example',
      '10.0.0.0/8',
      '*',
    ]);
  });
});

describe('the file to load', () => {
  test('is the one of the flag, then of ENTREPOT_CONFIG, then config.yaml in the working folder, then none', () => {
    const cwd = folderWith({ 'config.yaml': '' });
    const env = { ENTREPOT_CONFIG: '/etc/e.yaml' };
    expect(resolveConfigFile({ flag: 'a.yaml', env, cwd })).toBe(join(cwd, 'a.yaml'));
    expect(resolveConfigFile({ env, cwd })).toBe('/etc/e.yaml');
    expect(resolveConfigFile({ env: { ENTREPOT_CONFIG: '' }, cwd })).toBe(join(cwd, 'config.yaml'));
    expect(resolveConfigFile({ env: {}, cwd: folderWith({}) })).toBeUndefined();
  });
});
