// biome-ignore-all lint/suspicious/noTemplateCurlyInString: these strings are the syntax under test.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { loadConfig } from '../../src/config/load.ts';
import { ConfigError } from '../../src/config/problems.ts';
import { folderWith, loadFrom, refusalOf } from './complaints.ts';

type Env = Record<string, string>;

function configError(yaml: string, env: Env = {}, files: Env = {}): ConfigError {
  return refusalOf(() => loadFrom(yaml, files, { env }));
}

/** The lines of the message, without the file's name. */
function complaints(yaml: string, env: Env = {}, files: Env = {}): string[] {
  return configError(yaml, env, files)
    .message.split('\n')
    .map((line) => line.replace(/^config\.yaml(?::(?=\d))?/, ''));
}

const upstream = (text: string) =>
  `registries:\n  docker.io:\n    upstreams:\n      - url: https://a.example\n${text}`;
const withUrl = (url: string) => `registries:\n  docker.io:\n    upstreams:\n      - url: "${url}"`;
const at = 'registries.docker.io.upstreams[0]';

describe('a value of the wrong form', () => {
  const duration = 'must be a duration with a unit (ms, s, m, h, d), such as 30s or 1h30m';
  const size = 'must be a size with a unit (B, KiB, MiB, GiB), such as 4MiB';
  const listen = 'must be host:port, such as 0.0.0.0:5000 or [::]:5000, with a port of at most 65535';

  test.each([
    ['listen: 5000', `1 listen: ${listen}`],
    ['listen: ":5000"', `1 listen: ${listen}`],
    ['listen: "::1:5000"', `1 listen: ${listen}`],
    ['listen: "[1.2.3.4]:5000"', `1 listen: ${listen}`],
    ['listen: "256.0.0.1:5000"', `1 listen: ${listen}`],
    ['listen: "localhost:65536"', `1 listen: ${listen}`],
    ['\nstorage:\n  path: 7', '3 storage.path: must be text (quote it if it looks like a number)'],
    ['storage: {path: ""}', '1 storage.path: must not be empty'],
    ['storage: ./cache', '1 storage: must be a map of keys to values'],
    ['storage:', '1 storage: is empty: give it a value or remove the key'],
    ['limits: {manifestSize: 4194304}', `1 limits.manifestSize: ${size}`],
    ['limits: {manifestSize: "4194304"}', `1 limits.manifestSize: ${size}`],
    ['limits: {manifestSize: 1MiB}', '1 limits.manifestSize: must be at least 4MiB'],
    ['server:\n  drainTimeout: 25', `2 server.drainTimeout: ${duration}`],
    ['server:\n  drainDelay: 10', `2 server.drainDelay: ${duration}`],
    ['server:\n  drainDelay: 30d', '2 server.drainDelay: must be at most 24d'],
    ['server:\n  writeStallTimeout: 0s', '2 server.writeStallTimeout: must be longer than 0s'],
    ['server:\n  writeStallTimeout: 30d', '2 server.writeStallTimeout: must be at most 24d'],
    ['log: {level: verbose}', '1 log.level: must be one of debug, info, warn, error, silent'],
    ['log: {format: 1}', '1 log.format: must be one of json, text'],
    ['policy: {default: maybe}', '1 policy.default: must be one of allow, deny'],
    ['policy: {rules: {}}', '1 policy.rules: must be a list'],
    ['policy:\n  rules:\n    - images: "**"', '3 policy.rules[0].action: is required'],
    [
      'policy:\n  rules:\n    - {images: a.b/c, action: allow}\n    - images: []\n      action: allow',
      '4 policy.rules[1].images: must be a glob or a list of them, none of them empty',
    ],
    ['policy: {rules: [{action: deny}]}', '1 policy.rules[0].images: is required'],
    [upstream('        tags: "no"'), `5 ${at}.tags: must be true or false, without quotes`],
    [upstream('        connectTimeout: 5'), `5 ${at}.connectTimeout: ${duration}`],
    [upstream('    tagTtl: soon'), `5 registries.docker.io.tagTtl: ${duration}`],
    ['registries:\n  docker.io: {}', '2 registries.docker.io.upstreams: is required'],
    ['registries:\n  docker.io:', '2 registries.docker.io: is empty: give it a value or remove the key'],
    [
      'registries: {docker.io: {upstreams: []}}',
      '1 registries.docker.io.upstreams: must list at least one upstream',
    ],
    ['registries: {docker.io: {upstreams: [{}]}}', `1 ${at}.url: is required`],
    ['- a', ': must be a map of keys to values'],
    ['just text', ': must be a map of keys to values'],
  ])('%j is named with its line and path', (yaml, expected) => {
    expect(complaints(yaml)).toEqual([expected]);
  });
});

describe('an unknown key', () => {
  test.each([
    ['log:\n  levle: info', '2 log.levle: unknown key, did you mean "level"?'],
    ['default-registry: docker.io', '1 default-registry: unknown key, did you mean "defaultRegistry"?'],
    [
      upstream('        stall_timeout: 1s'),
      `5 ${at}.stall_timeout: unknown key, did you mean "stallTimeout"?`,
    ],
    [upstream('    tagTTL: 1s'), '5 registries.docker.io.tagTTL: unknown key, did you mean "tagTtl"?'],
    ['limits: {zzz: 1}', '1 limits.zzz: unknown key, known here: manifestSize, connections, maxBandwidth'],
    [
      'policy: {rules: [{images: a.b/c, action: allow, tag: b}]}',
      '1 policy.rules[0].tag: unknown key, did you mean "tags"?',
    ],
  ])('%j is named, with the key that was probably meant', (yaml, expected) => {
    expect(complaints(yaml)).toEqual([expected]);
  });

  test('is refused even when it is __proto__', () => {
    expect(complaints('log: {__proto__: {level: debug}}')[0]).toContain('log.__proto__: unknown key');
    expect(
      complaints('registries: {__proto__: {}, docker.io: {upstreams: [{url: "https://a.example"}]}}')[0],
    ).toContain('registries.__proto__: a registry is named by its host');
  });
});

describe('an upstream URL', () => {
  test.each([
    ['registry.example.com', 'must be a URL such as https://registry.example.com'],
    ['ftp://registry.example.com', 'must be a URL such as https://registry.example.com'],
    ['https://', 'must be a URL such as https://registry.example.com'],
    ['https://h:99999', 'must be a URL such as https://registry.example.com'],
    ['https://a b', 'must be a URL such as https://registry.example.com'],
    ['https://user:pw@h', 'must hold no credentials: use the keys username and password'],
    ['https://@h', 'must hold no credentials: use the keys username and password'],
    ['https://h?x=1', 'must have no query and no fragment'],
    ['https://h/#', 'must have no query and no fragment'],
    ['https://h/v2/', 'must not name /v2: it is added to every request'],
    [
      'https://h/../x',
      'must have a path that can begin a repository name (lower case, such as /dockerhub), or none',
    ],
    [
      'https://h/Proxy',
      'must have a path that can begin a repository name (lower case, such as /dockerhub), or none',
    ],
    [
      'https://h/a%2fb',
      'must have a path that can begin a repository name (lower case, such as /dockerhub), or none',
    ],
    ['http://h', 'plain http:// needs insecure: true'],
  ])('%s is refused', (url, message) => {
    expect(complaints(withUrl(url))).toEqual([`4 ${at}.url: ${message}`]);
  });

  test('of https cannot be insecure', () => {
    expect(complaints(upstream('        insecure: true'))).toEqual([
      `5 ${at}.insecure: permits plain http:// only: an https:// certificate is always verified, see the key ca`,
    ]);
  });
});

describe('an account', () => {
  test.each([
    ['        username: me', `5 ${at}: username needs the key password beside it`],
    ['        password: x', `5 ${at}: password needs the key username beside it`],
    ['        password: x\n        username: "a:b"', `6 ${at}.username: must hold no colon (RFC 7617)`],
    ['        username: me\n        password: ""', `6 ${at}.password: must not be empty`],
  ])('is refused with %j', (text, expected) => {
    expect(complaints(upstream(text))).toEqual([expected]);
  });
});

describe('a registry', () => {
  const named = (name: string) =>
    `defaultRegistry: docker.io\n${upstream('')}  "${name}": {upstreams: [{url: "https://b.example"}]}`;

  test.each(['Docker.io', 'https://ghcr.io', 'ghcr.io/org', 'ghcr.io:99999', '-a.b', 'a..b', '*', ''])(
    'cannot be named %j',
    (name) => {
      expect(complaints(named(name))).toEqual([
        `6 registries.${name}: a registry is named by its host, such as ghcr.io or localhost:5000: lower case, no scheme, no path`,
      ]);
    },
  );

  test('that is the default must be among those configured', () => {
    expect(complaints(`${upstream('')}\ndefaultRegistry: ghcr.io`)).toEqual([
      '6 defaultRegistry: must be one of the registries: docker.io',
    ]);
    expect(complaints('\nregistries: {ghcr.io: {upstreams: [{url: "https://ghcr.io"}]}}')).toEqual([
      '2 defaultRegistry: is docker.io unless set, which registries lacks: set it to one of ghcr.io',
    ]);
    expect(complaints('defaultRegistry: constructor')[0]).toContain(
      'must be one of the registries: docker.io, ghcr.io',
    );
    expect(complaints('registries: {}')).toEqual(['1 registries: must name at least one registry']);
  });

  test('must have an upstream that answers tags', () => {
    expect(complaints(upstream('        tags: false'))).toEqual([
      '3 registries.docker.io.upstreams: every upstream has tags: false, so no tag could be pulled: leave it out for at least one',
    ]);
  });

  test('shares its host names with no other', () => {
    const yaml = `
registries:
  docker.io:
    upstreams: [{url: "https://a.example"}]
    hosts:
      - docker.corp
      - docker.io
      - docker.corp
      - ghcr.io
  ghcr.io:
    upstreams: [{url: "https://b.example"}]
    hosts: [docker.corp, "https://x"]
`;
    expect(complaints(yaml)).toEqual([
      '8 registries.docker.io.hosts[2]: this host is already given for docker.io',
      '9 registries.docker.io.hosts[3]: this host is the name of another registry',
      '12 registries.ghcr.io.hosts[0]: this host is already given for docker.io',
      '12 registries.ghcr.io.hosts[1]: must be a host such as ghcr.mirror.corp: lower case, no scheme, no path',
    ]);
  });
});

describe('a file', () => {
  test('that is missing is named', () => {
    const load = (file: string) => () => loadConfig({ file, env: {}, cwd: '/nowhere' });
    expect(load('a/b.yaml')).toThrow(/^a\/b\.yaml: no such file$/);
    expect(load('/other/b.yaml')).toThrow(/^\/other\/b\.yaml: no such file$/);
    expect(load('/')).toThrow(/^\/: cannot read the file \(EISDIR\)$/);
  });

  test.each([
    ['log:\n  level: "info', 2, 'YAML syntax: Missing closing quote'],
    ['log: {level: info', 1, 'YAML syntax:'],
    ['log:\n\tlevel: info', 2, 'YAML syntax: Tabs are not allowed as indentation'],
    ['listen: *nowhere', 1, 'YAML: this alias has no anchor'],
    ['log: {}\n? [a, b]\n: 1', 2, 'YAML syntax: With stringKeys, all keys must be strings'],
    ['listen: !custom x', 1, 'YAML syntax: Unresolved tag'],
    ['a: 1\n---\nb: 2', 2, 'YAML syntax: Source contains multiple documents'],
  ])('with the syntax fault %j is refused at its line', (yaml, line, message) => {
    const { problems } = configError(yaml);
    expect(problems[0]).toEqual({ path: '', line, message: expect.stringContaining(message) });
  });

  test('with a key given twice is refused at the second, together with its other problems', () => {
    expect(complaints(`${upstream('    tagTtl: 5m')}\n    tagTtl: 5`)).toEqual([
      '6 registries.docker.io.tagTtl: this key is given twice',
      expect.stringContaining('6 registries.docker.io.tagTtl: must be a duration'),
    ]);
    expect(complaints('policy:\n  rules:\n    - {images: a.b/c, action: allow, images: a.b/d}')).toEqual([
      '3 policy.rules[0].images: this key is given twice',
    ]);
  });

  test.each([
    ['deep nesting', '['.repeat(50_000)],
    ['an alias of itself', 'storage: &a {path: *a}'],
    [
      'aliases that multiply',
      `a: &a [x,x]\n${[...'bcdefghijk'].map((n, i) => `${n}: &${n} [${`*${'abcdefghijk'[i]},`.repeat(9)}]`).join('\n')}`,
    ],
  ])('with %s is refused without a crash', (_, yaml) => {
    expect(configError(yaml).problems.length).toBeGreaterThan(0);
  });

  test('of any text is accepted or refused, and nothing else', () => {
    const line = fc.constantFrom(
      'listen: ',
      'log:',
      '  level: info',
      '- ',
      'registries:',
      '  a.b:',
      '    upstreams:',
      '      - url: x',
      '&a',
      '*a',
      '${A}',
      '"',
      '{',
      ']',
      '\t',
      '? ',
      '!!set',
      '<<: ',
    );
    const yamls = fc.oneof(
      fc.string(),
      fc.array(line, { maxLength: 10 }).map((parts) => parts.join('\n')),
    );
    const folder = folderWith({});
    fc.assert(
      fc.property(yamls, (yaml) => {
        writeFileSync(join(folder, 'config.yaml'), yaml);
        try {
          expect(loadConfig({ file: 'config.yaml', env: {}, cwd: folder }).listen.port).toBeTypeOf('number');
        } catch (error) {
          expect(error).toBeInstanceOf(ConfigError);
        }
      }),
    );
  });
});

describe('the error', () => {
  test('holds every problem at once, in the order of the file, with a stable code', () => {
    const error = configError(
      `listen: nope
lgo: {}
registries:
  docker.io:
    upstreams:
      - url: http://a.example
        username: \${MISSING}
        ca: nope.pem
    tagTtl: 300
  Ghcr.io: {upstreams: []}
log: {level: loud}`,
      { https_proxy: 'socks5://127.0.0.1:1' },
    );
    expect(error).toMatchObject({ name: 'ConfigError', code: 'CONFIG_INVALID' });
    expect(error.problems.map(({ line, path }) => `${line} ${path}`)).toEqual([
      '1 listen',
      '2 lgo',
      '6 registries.docker.io.upstreams[0].url',
      '7 registries.docker.io.upstreams[0].username',
      '7 registries.docker.io.upstreams[0]',
      '8 registries.docker.io.upstreams[0].ca',
      '9 registries.docker.io.tagTtl',
      '10 registries.Ghcr.io.upstreams',
      '10 registries.Ghcr.io',
      '11 log.level',
      'undefined $https_proxy',
    ]);
    expect(error.message.split('\n')).toHaveLength(11);
    expect(error.message).toContain('config.yaml:1 listen: must be host:port');
    expect(error.message).toMatch(/\n\$https_proxy: must be an http:\/\/ or https:\/\/ address of a proxy/);
  });

  test('says once what is wrong with a value that could not be filled in', () => {
    expect(complaints('listen: ${LISTEN}\ndefaultRegistry: ${REGISTRY}\nlog: {level: "${LEVEL"}')).toEqual([
      '1 listen: environment variable LISTEN is not set',
      '2 defaultRegistry: environment variable REGISTRY is not set',
      '3 log.level: "${" is not closed by "}": write $${ for a literal ${',
    ]);
  });

  test('still tells of a missing key beside a value that could not be filled in', () => {
    expect(complaints(upstream('        password: ${TOKEN}'))).toEqual([
      `5 ${at}.password: environment variable TOKEN is not set`,
      `5 ${at}: password needs the key username beside it`,
    ]);
  });

  test('points into what an alias stands for', () => {
    expect(complaints('registries:\n  docker.io: &r\n    upstreams:\n      - url: x\n  ghcr.io: *r')).toEqual(
      [
        '4 registries.docker.io.upstreams[0].url: must be a URL such as https://registry.example.com',
        '4 registries.ghcr.io.upstreams[0].url: must be a URL such as https://registry.example.com',
      ],
    );
  });
});

describe('a certificate file', () => {
  test('must be readable and hold a certificate', () => {
    const files = { 'key.pem': '-----BEGIN PRIVATE KEY-----\nhunter2-0451\n' };
    expect(complaints(upstream('        ca: nope.pem'))[0]).toMatch(
      /^5 registries\.docker\.io\.upstreams\[0\]\.ca: cannot read this file, relative to \/.*entrepot-config-\w+ \(ENOENT\)$/,
    );
    expect(complaints(upstream('        ca: key.pem'), {}, files)).toEqual([
      `5 ${at}.ca: the file holds no PEM certificate (-----BEGIN CERTIFICATE-----)`,
    ]);
  });
});
