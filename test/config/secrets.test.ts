// biome-ignore-all lint/suspicious/noTemplateCurlyInString: these strings are the syntax under test.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { loadConfig } from '../../src/config/load.ts';
import type { ConfigError } from '../../src/config/problems.ts';
import { folderWith, loadFrom, refusalOf } from './complaints.ts';

type Env = Record<string, string>;

function configError(yaml: string, env: Env = {}, files: Env = {}): ConfigError {
  return refusalOf(() => loadFrom(yaml, files, { env }));
}

describe('a secret', () => {
  const secret = 'hunter2-0451';
  const everywhere = (value: string) => `
listen: "${value}"
storage: {path: "${value}", size: "${value}"}
defaultRegistry: "${value}"
registries:
  docker.io:
    upstreams:
      - {url: "${value}", tags: "${value}", username: "${value}:", insecure: "${value}", connectTimeout: "${value}"}
      - {url: "http://${value}", password: "${value}", ca: "${value}"}
      - {url: "https://u:${value}@h", ca: "certs/${value}"}
      - {url: "https://h", trustedRealms: ["${value}/"], dockerConfig: "${value}", credentialHelper: "${value}!"}
      - "${value}"
    hosts: ["${value} ", "${value}", "${value}"]
    tagTtl: "${value}"
policy:
  default: "${value}"
  digests: "${value}"
  failClosed: "${value}"
  lockfile: "${value}"
  rules:
    - {images: "${value}", action: "${value}", tags: ["/${value}(/", "${value}["], semver: "${value}", digests: "${value}"}
    - "${value}"
access:
  anonymous: ["${value}", {images: ["${value}"], actions: "${value}"}]
  users: {u: {passwordHash: "${value}", password: "${value}", grants: "${value}"}, v: "${value}"}
  htpasswd: "${value}"
  htpasswdGrants: ["${value}"]
  loginHosts: ["${value}/"]
  realm: "https://u:${value}@h/token"
  passthrough: "${value}"
tls: {cert: "${value}", key: "${value}"}
limits: {manifestSize: "${value}"}
server: "${value}"
log: {level: "${value}", format: ["${value}"]}
`;

  test('from the environment or a file is never in a message, wherever it is wrong', () => {
    for (const value of ['${SECRET}', '${file:secret}', '${NONE:-hunter2-0451}', secret]) {
      const error = configError(everywhere(value), { SECRET: secret }, { secret: `${secret}\n` });
      expect(error.problems.length).toBeGreaterThan(40);
      expect(JSON.stringify([error.message, error.problems, error.stack, error.cause])).not.toContain(secret);
    }
  });

  test.each([
    `password: "${secret}\\q"`,
    `password: "${secret}`,
    `password: !${secret}`,
    `password: *${secret}`,
    `password: |${secret}`,
    `password: @${secret}`,
    `password: {${secret}`,
    `password: a: ${secret}`,
    `password: "a" ${secret}`,
    `password: a\n${secret}`,
    `%${secret}\n---\n`,
  ])('in a file of broken syntax is not shown: %j', (yaml) => {
    expect(configError(yaml).message).not.toContain(secret);
  });

  test('in a file of any broken syntax is not shown', () => {
    const before = fc.constantFrom(
      '',
      '"',
      "'",
      '!',
      '*',
      '&',
      '|',
      '>',
      '@',
      '`',
      '{',
      '[',
      '- ',
      'x: ',
      '"\\\\',
      '\t',
      ',',
    );
    const after = fc.constantFrom('', '"', "'", '}', ']', ' #', ' x', '\n  y', '\n z: 1', ',', '"\\n"');
    const folder = folderWith({});
    fc.assert(
      fc.property(before, before, after, after, (a, b, c, d) => {
        writeFileSync(join(folder, 'config.yaml'), `log:\n  level: ${a}${b}${secret}${c}${d}\n`);
        const error = refusalOf(() => loadConfig({ file: 'config.yaml', env: {}, cwd: folder }));
        // As a key it is named, like any unknown key: only values may be secret.
        const asKey = error.problems.some(({ path }) => path.includes(secret));
        expect(asKey || !error.message.includes(secret)).toBe(true);
      }),
      { numRuns: 1000 },
    );
  });

  test('in a proxy variable is not shown', () => {
    const error = configError('', {
      HTTPS_PROXY: `socks5://u:${secret}@h`,
      HTTP_PROXY: `http://u:${secret}@h:x`,
    });
    expect(error.problems.map((problem) => problem.path)).toEqual(['$HTTPS_PROXY', '$HTTP_PROXY']);
    expect(error.message).not.toContain(secret);
  });
});
