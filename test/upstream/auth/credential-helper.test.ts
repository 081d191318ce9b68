import { chmodSync, readFileSync } from 'node:fs';
import { relative } from 'node:path';
import { inspect } from 'node:util';
import { describe, expect, it, vi } from 'vitest';
import { runCredentialHelper } from '../../../src/upstream/auth/credential-helper.ts';
import { patience } from '../../helpers/patience.ts';
import { never } from '../open-client.ts';
import { answering, programFolder } from './helper-programs.ts';

const registry = new URL('https://registry.test:5000/base');
const ask = (name: string, upstream = registry) => runCredentialHelper(name, upstream, never);

describe('a credential helper', () => {
  it('is asked for the host and port, and believed', async () => {
    const programs = programFolder();
    programs.write('secret', 's3cret:with a colon\n');
    programs.helper('ecr-login', answering('AWS', programs.path('secret')));
    expect(await ask('ecr-login')).toEqual({
      kind: 'password',
      username: 'AWS',
      password: 's3cret:with a colon',
    });
    expect(programs.asked()).toEqual(['get registry.test:5000']);
  });

  it.each(['https://registry-1.docker.io', 'https://index.docker.io', 'https://docker.io'])(
    'is asked for Docker Hub by the name that Docker has for it, for %s',
    async (url) => {
      const programs = programFolder();
      programs.write('secret', 'x\n');
      programs.helper('pass', answering('me', programs.path('secret')));
      await ask('pass', new URL(url));
      expect(programs.asked()).toEqual(['get https://index.docker.io/v1/']);
    },
  );

  it('names an identity token by its user', async () => {
    const programs = programFolder();
    programs.write('secret', 'refresh-me\n');
    programs.helper('acr-env', answering('<token>', programs.path('secret')));
    expect(await ask('acr-env')).toEqual({ kind: 'identity-token', token: 'refresh-me' });
  });

  it('may know nothing', async () => {
    programFolder().helper('pass', 'echo "credentials not found in native keychain"; exit 1');
    expect(await ask('pass')).toBeUndefined();
  });

  it.each([
    ['fails', 'echo SECRET; echo SECRET >&2; exit 3', 'docker-credential-x failed with exit code 3'],
    ['is killed', 'kill -9 $$', 'docker-credential-x was killed'],
    ['answers no JSON', 'echo SECRET', 'docker-credential-x answered no credentials'],
    ['answers something else', 'echo \'["SECRET"]\'', 'docker-credential-x answered no credentials'],
    [
      'names no user',
      'echo \'{"Username":"","Secret":"SECRET"}\'',
      'docker-credential-x answered no credentials',
    ],
    ['names no secret', 'echo \'{"Username":"SECRET"}\'', 'docker-credential-x answered no credentials'],
    [
      'says more than it may',
      'while true; do echo SECRETSECRETSECRETSECRETSECRETSECRETSECRET; done',
      'docker-credential-x answered more than 65536 bytes',
    ],
  ])('that %s is an error that repeats nothing of what it said', async (_what, script, message) => {
    programFolder().helper('x', script);
    const error: unknown = await ask('x').catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: 'CREDENTIAL', message });
    expect(inspect(error, { depth: 12, showHidden: true })).not.toContain('SECRET');
  });

  it('that does not answer in time is given up', async () => {
    programFolder().helper('slow', '/bin/sleep 60');
    const asking = runCredentialHelper('slow', registry, never, { timeout: 50 });
    await expect(asking).rejects.toThrow('docker-credential-slow did not answer within 0.05 s');
  });

  it('ends with the signal, and what it has started ends with it', async () => {
    const programs = programFolder();
    const pid = programs.path('pid');
    programs.helper('slow', `/bin/sleep 60 & echo $! > '${pid}.new'; /bin/mv '${pid}.new' '${pid}'; wait`);
    const controller = new AbortController();
    const asking = runCredentialHelper('slow', registry, controller.signal);
    const child = await vi.waitFor(() => Number(programs.read('pid')), { timeout: patience });
    controller.abort(new Error('closed'));
    await expect(asking).rejects.toThrow('closed');
    await vi.waitFor(() => expect(isRunning(child)).toBe(false), { timeout: patience });
  });

  it('that reads nothing is fine', async () => {
    const programs = programFolder();
    programs.helper('deaf', 'exit 0');
    programs.write(
      'docker-credential-deaf',
      '#!/bin/sh\nexec 0<&-\necho \'{"Username":"a","Secret":"b"}\'\n',
    );
    expect(await ask('deaf')).toMatchObject({ username: 'a' });
  });

  it('is looked up in the absolute folders of PATH, and has to be a program', async () => {
    const programs = programFolder();
    programs.write('secret', 'x\n');
    programs.helper('x', answering('me', programs.path('secret')));
    await expect(ask('y')).rejects.toThrow('docker-credential-y is in no folder of PATH');
    vi.stubEnv('PATH', `.::${programs.folder}/nowhere:${programs.folder}`);
    expect(await ask('x')).toMatchObject({ username: 'me' });
    vi.stubEnv('PATH', relative(process.cwd(), programs.folder));
    await expect(ask('x')).rejects.toThrow('in no folder of PATH');
    vi.stubEnv('PATH', programs.folder);
    chmodSync(programs.path('docker-credential-x'), 0o644);
    await expect(ask('x')).rejects.toThrow('in no folder of PATH');
  });

  it.each(['', '../x', 'a/b', 'a b', '-x', 'x;y', 'x\0', '$(x)', 'x'.repeat(65)])(
    'is not looked for by the name %j',
    async (name) => {
      programFolder();
      await expect(ask(name)).rejects.toThrow('the name of its credential helper is malformed');
    },
  );
});

/** Whether a process is there and is no zombie. */
function isRunning(pid: number): boolean {
  try {
    return !/^\d+ \(.*\) Z/.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
  } catch {
    return false;
  }
}
