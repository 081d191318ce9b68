import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { loadConfig } from '../../src/config/load.ts';
import { formatLockfile } from '../../src/config/lockfile.ts';
import { configurationMarkdown, jsonSchemaText } from '../../src/config/schema/json-schema.ts';
import { localhostTls } from '../upstream/tls-fixture.ts';
import { folderWith } from './complaints.ts';

const hash = '$2b$10$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy';

const root = join(import.meta.dirname, '../..');
const shipped = readFileSync(join(root, 'config.yaml'), 'utf8');

/** The shipped file with every commented setting active: "#key", or "#" and the indentation of a nested one. */
const uncommented = shipped.replaceAll(/^( *)#(?! \S|$)/gm, '$1');

/** The key paths of the documentation's table, such as `registries.<host>.hosts`. */
function documentedKeys(): string[] {
  return [...configurationMarkdown().matchAll(/^\| `([A-Za-z.<>[\]]+)` \|/gm)].map((match) => match[1] ?? '');
}

/** Whether the parsed document holds a documented key, in any of its registries and list entries. */
function holds(node: unknown, keys: readonly string[]): boolean {
  const [key, ...rest] = keys;
  if (key === undefined) return true;
  if (Array.isArray(node)) return node.some((item) => holds(item, keys));
  if (typeof node !== 'object' || node === null) return false;
  const entries = Object.entries(node).filter(([name]) => /^<.*>$/.test(key) || name === key);
  return entries.some(([, child]) => holds(child, rest));
}

describe('the generated documentation', () => {
  test.each([
    ['docs/config.schema.json', jsonSchemaText],
    ['docs/CONFIGURATION.md', configurationMarkdown],
  ])('%s is up to date', (path, text) => {
    const message = `${path} differs from the schema in src/config/schema.ts: regenerate it with "npm run docs"`;
    expect(readFileSync(join(root, path), 'utf8') === text(), message).toBe(true);
  });

  test('has a description for every key', () => {
    const undescribed: string[] = [];
    const visit = (schema: unknown, path: string): void => {
      const node = schema as Partial<Record<string, Record<string, unknown>>>;
      for (const [key, child] of Object.entries(node['properties'] ?? {})) {
        if (!(child as Record<string, unknown>)['description']) undescribed.push(`${path}${key}`);
        visit(child, `${path}${key}.`);
      }
      if (typeof node['additionalProperties'] === 'object') visit(node['additionalProperties'], `${path}*.`);
      if (node['items']) visit(node['items'], path);
    };
    visit(JSON.parse(jsonSchemaText()), '');
    expect(undescribed).toEqual([]);
    expect(documentedKeys()).toContain('registries.<host>.upstreams[].stallTimeout');
    expect(documentedKeys().length).toBeGreaterThan(30);
  });

  test('lets an editor accept placeholders and units, and refuse bare numbers', () => {
    const schema = JSON.parse(jsonSchemaText()) as {
      properties: { limits: { properties: { manifestSize: { type: string; pattern: string } } } };
    };
    const { type, pattern } = schema.properties.limits.properties.manifestSize;
    expect(type).toBe('string');
    expect(
      ['4MiB', '1.5GiB', '10GB', `\${SIZE:-4MiB}`, '512', '4M'].map((text) => new RegExp(pattern).test(text)),
    ).toEqual([true, true, true, true, false, false]);
  });
});

describe('the shipped config.yaml', () => {
  test('names its schema for editors in the first line', () => {
    expect(shipped.split('\n')[0]).toBe('# yaml-language-server: $schema=docs/config.schema.json');
  });

  test('means the same as no configuration at all', () => {
    const fromFile = loadConfig({ file: join(root, 'config.yaml'), env: {}, cwd: '/elsewhere' });
    expect(fromFile).toEqual(loadConfig({ env: {}, cwd: root }));
    expect(Object.keys(fromFile.registries)).toEqual(
      Object.keys(loadConfig({ env: {}, cwd: root }).registries),
    );
  });

  test('is valid with every commented setting active', () => {
    const folder = folderWith({
      'config.yaml': uncommented,
      'secrets/dockerhub': 'token\n',
      'secrets/docker-config.json': '{}',
      'secrets/ci-hash': `${hash}\n`,
      'secrets/htpasswd': `ops:${hash}\n`,
      'certs/corp.pem': '-----BEGIN CERTIFICATE-----\n',
      'certs/server.pem': localhostTls.cert,
      'certs/server.key': localhostTls.key,
      'images.lock.yaml': formatLockfile({ images: {} }),
    });
    const config = loadConfig({ file: 'config.yaml', env: { DOCKERHUB_USERNAME: 'robot' }, cwd: folder });
    expect(config.registries['docker.io']?.upstreams.map(({ url }) => url)).toEqual([
      'https://registry-1.docker.io',
      'https://harbor.corp.example/dockerhub',
      'https://123456789012.dkr.ecr.eu-west-1.amazonaws.com/docker-hub',
      'http://mirror.lan:5000',
    ]);
    expect(config.registries['docker.io']?.upstreams[0]).toMatchObject({
      username: 'robot',
      password: 'token',
    });
    expect(config.policy.rules).toHaveLength(4);
    expect(config.access.users['ci']?.passwordHash).toBe(hash);
    expect(config.tls?.certFile).toBe(join(folder, 'certs/server.pem'));
  });

  test('holds every key of the schema, active or commented', () => {
    const document: unknown = parse(uncommented);
    const missing = documentedKeys().filter((key) => !holds(document, key.replaceAll('[]', '').split('.')));
    expect(missing).toEqual([]);
  });
});
