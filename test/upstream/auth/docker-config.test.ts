import { inspect } from 'node:util';
import { describe, expect, it } from 'vitest';
import { readDockerConfig } from '../../../src/upstream/auth/docker-config.ts';
import { never } from '../open-client.ts';
import { answering, programFolder } from './helper-programs.ts';

const basic = (pair: string) => Buffer.from(pair).toString('base64');

/** Reads what a `config.json` of these contents holds for an upstream. */
function read(config: unknown, upstream: string, programs = programFolder()) {
  programs.write('config.json', typeof config === 'string' ? config : JSON.stringify(config));
  return readDockerConfig(programs.path('config.json'), new URL(upstream), never);
}

const auth = (name: string) => ({ auth: basic(`${name}:s3cret`) });
const user = (username: string) => ({ kind: 'password', username, password: 's3cret' });

describe('an entry of a config.json', () => {
  it.each([
    ['ghcr.io', 'https://ghcr.io'],
    ['ghcr.io', 'https://ghcr.io/base/path'],
    ['ghcr.io', 'https://ghcr.io:443'],
    ['https://ghcr.io', 'https://ghcr.io'],
    ['https://ghcr.io/v1/', 'https://ghcr.io'],
    ['https://ghcr.io/v2/', 'https://ghcr.io'],
    ['ghcr.io/', 'https://ghcr.io'],
    ['registry.corp:5000', 'https://registry.corp:5000'],
    ['http://registry.corp:5000', 'http://registry.corp:5000'],
    ['https://index.docker.io/v1/', 'https://registry-1.docker.io'],
    ['docker.io', 'https://registry-1.docker.io'],
    ['registry-1.docker.io', 'https://registry-1.docker.io'],
    ['https://index.docker.io/v1/', 'https://index.docker.io'],
  ])('%s is for %s', async (key, upstream) => {
    expect(await read({ auths: { [key]: auth('me') } }, upstream)).toEqual(user('me'));
  });

  it.each([
    ['ghcr.io.evil.com', 'https://ghcr.io'],
    ['evilghcr.io', 'https://ghcr.io'],
    ['ghcr.io', 'https://ghcr.io.evil.com'],
    ['ghcr.io', 'https://evilghcr.io'],
    ['ghcr.io', 'https://sub.ghcr.io'],
    ['sub.ghcr.io', 'https://ghcr.io'],
    ['ghcr.io', 'https://ghcr.io:8443'],
    ['ghcr.io:8443', 'https://ghcr.io'],
    ['ghcr.io/org', 'https://ghcr.io/org'],
    ['https://ghcr.io/v1/evil', 'https://ghcr.io'],
    ['ghcr.io@evil.com', 'https://ghcr.io'],
    ['evil.com@ghcr.io', 'https://ghcr.io'],
    ['https://:x@ghcr.io', 'https://ghcr.io'],
    ['ghcr.io?x', 'https://ghcr.io'],
    ['*.io', 'https://ghcr.io'],
    ['azurecr.io', 'https://corp.azurecr.io'],
    ['https://index.docker.io/v1/', 'https://auth.docker.io'],
    ['https://index.docker.io/v1/', 'https://index.docker.io.evil.com'],
    ['__proto__', 'https://ghcr.io'],
    ['', 'https://ghcr.io'],
  ])('%s is not for %s', async (key, upstream) => {
    expect(await read(`{"auths":{${JSON.stringify(key)}:${JSON.stringify(auth('me'))}}}`, upstream)).toBe(
      undefined,
    );
  });

  it('counts by its exact name first, and for Docker Hub by that of Docker', async () => {
    const auths = { 'https://ghcr.io': auth('url'), 'ghcr.io': auth('host') };
    expect(await read({ auths }, 'https://ghcr.io')).toEqual(user('host'));
    const hub = { 'docker.io': auth('podman'), 'https://index.docker.io/v1/': auth('docker') };
    expect(await read({ auths: hub }, 'https://registry-1.docker.io')).toEqual(user('docker'));
  });

  it.each([
    [{ auth: basic('me:with:colons') }, { kind: 'password', username: 'me', password: 'with:colons' }],
    [{ auth: basic('me:padded\0\0') }, { kind: 'password', username: 'me', password: 'padded' }],
    [
      { username: 'me', password: 'pä' },
      { kind: 'password', username: 'me', password: 'pä' },
    ],
    [{ identitytoken: 'refresh' }, { kind: 'identity-token', token: 'refresh' }],
    [
      { ...auth('me'), identitytoken: 'refresh' },
      { kind: 'identity-token', token: 'refresh' },
    ],
    [{ ...auth('me'), identitytoken: '' }, user('me')],
    [{}, undefined],
    [{ auth: '' }, undefined],
    ['text', undefined],
    [null, undefined],
  ])('of %j is read', async (entry, expected) => {
    expect(await read({ auths: { 'ghcr.io': entry } }, 'https://ghcr.io')).toEqual(expected);
  });

  it.each([['no-colon'], [':no-user']])('with the malformed pair %j is an error without it', async (pair) => {
    const reading = read({ auths: { 'ghcr.io': { auth: basic(`${pair}SECRET`) } } }, 'https://ghcr.io');
    const error: unknown = await reading.catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: 'CREDENTIAL', message: expect.stringContaining('malformed entry') });
    expect(inspect(error, { depth: 12, showHidden: true })).not.toContain('SECRET');
  });
});

describe('the helpers that a config.json names', () => {
  it('come before an entry when they are for the host, and after it when they are for all', async () => {
    const programs = programFolder();
    programs.write('secret', 's3cret\n');
    programs.helper('one', answering('from-helper', programs.path('secret')));
    programs.helper('store', answering('from-store', programs.path('secret')));
    const config = {
      auths: { 'ghcr.io': auth('from-file'), 'quay.io': auth('from-file'), 'gcr.io': {} },
      credHelpers: { 'ghcr.io': 'one' },
      credsStore: 'store',
    };
    expect(await read(config, 'https://ghcr.io', programs)).toEqual(user('from-helper'));
    expect(await read(config, 'https://quay.io', programs)).toEqual(user('from-file'));
    expect(await read(config, 'https://gcr.io', programs)).toEqual(user('from-store'));
    expect(await read(config, 'https://ghcr.io.evil.com', programs)).toEqual(user('from-store'));
    expect(programs.asked()).toEqual(['get ghcr.io', 'get gcr.io', 'get ghcr.io.evil.com']);
  });

  it('may know nothing, and have no say about where they are', async () => {
    const programs = programFolder();
    programs.helper('pass', 'echo "credentials not found in native keychain"; exit 1');
    expect(await read({ credsStore: 'pass' }, 'https://ghcr.io', programs)).toBeUndefined();
    const evil = { credHelpers: { 'ghcr.io': '../../tmp/evil' } };
    await expect(read(evil, 'https://ghcr.io', programs)).rejects.toThrow('malformed');
  });
});

it.each([
  ['not json', 'is not a Docker config.json'],
  ['null', 'is not a Docker config.json'],
  [`{"x":"${'x'.repeat(1024 * 1024)}"}`, 'is longer than'],
])('a file of %.20j is an error', async (text, message) => {
  await expect(read(text, 'https://ghcr.io')).rejects.toThrow(message);
});

it('a file that is not there is an error', async () => {
  const { path } = programFolder();
  const reading = readDockerConfig(path('config.json'), new URL('https://ghcr.io'), never);
  await expect(reading).rejects.toThrow('cannot be read (ENOENT)');
});
