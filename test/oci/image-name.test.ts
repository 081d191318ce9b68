import { describe, expect, test } from 'vitest';
import { parseImageName } from '../../src/oci/image-name.ts';

const hex = 'a'.repeat(64);
const digest = `sha256:${hex}`;

/** `registry repository tag digest`, with `-` for what is absent. */
function shown(text: string, defaultRegistry = 'docker.io', registries?: readonly string[]): string {
  const name = parseImageName(text, defaultRegistry, registries);
  if (name === undefined) return 'malformed';
  return `${name.registry} ${name.repository} ${name.tag ?? '-'} ${name.digest === undefined ? '-' : 'digest'}`;
}

describe('an image name', () => {
  test.each([
    ['python', 'docker.io library/python - -'],
    ['python:3.12-slim', 'docker.io library/python 3.12-slim -'],
    ['bitnami/redis:7', 'docker.io bitnami/redis 7 -'],
    ['docker.io/python:3', 'docker.io library/python 3 -'],
    ['docker.io/library/python:3', 'docker.io library/python 3 -'],
    ['index.docker.io/python:3', 'docker.io library/python 3 -'],
    ['ghcr.io/org/app:v1', 'ghcr.io org/app v1 -'],
    ['ghcr.io/app', 'ghcr.io app - -'],
    ['localhost/app:v1', 'localhost app v1 -'],
    ['localhost:5000/team/app', 'localhost:5000 team/app - -'],
    ['localhost:5000/team/app:v1', 'localhost:5000 team/app v1 -'],
    ['localhost:5000', 'docker.io library/localhost 5000 -'],
    [`python@${digest}`, 'docker.io library/python - digest'],
    [`python:3.12@${digest}`, 'docker.io library/python 3.12 digest'],
    ['registry.corp:8443/a/b/c:Tag_1', 'registry.corp:8443 a/b/c Tag_1 -'],
  ])('%s means %s', (text, meaning) => {
    expect(shown(text)).toBe(meaning);
  });

  test.each([
    [''],
    [':3.12'],
    ['python:'],
    ['python@'],
    ['Python'],
    ['ghcr.io/'],
    ['ghcr.io//app'],
    ['/python'],
    ['python/'],
    ['python:3.12:1'],
    ['python@sha256:abc'],
    [`python@md5:${hex}`],
    [`python@${digest}@${digest}`],
    ['../etc/passwd'],
    ['ghcr.io/../app'],
    ['ghcr.io/org/app?x=1'],
    ['https://ghcr.io/org/app'],
    ['user:secret@ghcr.io/org/app'],
    ['GHCR.io/org/app'],
    [' python'],
    ['python\n'],
    [`python:${'t'.repeat(129)}`],
    ['a'.repeat(1025)],
  ])('%j is malformed', (text) => {
    expect(shown(text)).toBe('malformed');
  });

  test('goes to the default registry when it names none, and library/ is of Docker Hub only', () => {
    expect(shown('app:v1', 'ghcr.io')).toBe('ghcr.io app v1 -');
    expect(shown('docker.io/app:v1', 'ghcr.io')).toBe('docker.io library/app v1 -');
  });

  test('begins with a known registry although that does not look like a host', () => {
    expect(shown('local/team/app:v1')).toBe('docker.io local/team/app v1 -');
    expect(shown('local/team/app:v1', 'docker.io', ['local'])).toBe('local team/app v1 -');
    expect(shown('local:v1', 'docker.io', ['local'])).toBe('docker.io library/local v1 -');
  });
});
