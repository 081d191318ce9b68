import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { digestOf } from '../http/admin/admin-scene.ts';
import { commandScene } from './run-cli.ts';

const lockedPython = `images:
  docker.io/library/python:
    3-slim:
      digest: ${digestOf('c')}
      platforms:
        linux/amd64: ${digestOf('d')}
`;

describe('entrepot history', () => {
  test('prints a table that lines up', async () => {
    const { run, asked } = await commandScene();
    const { code, stdout, stderr } = await run(['history', 'python:3.12']);
    expect([code, stderr]).toEqual([0, '']);
    expect(asked).toEqual(['history docker.io library/python 3.12']);
    const [a, b] = [digestOf('a'), digestOf('b')];
    expect(stdout).toBe(
      [
        'docker.io/library/python',
        `WHEN                  TAG   WHAT    FROM${' '.repeat(69)}TO${' '.repeat(71)}BY`,
        `2026-07-01T08:30:00Z  3.12  moved   ${a}  ${b}  registry-1.docker.io`,
        `1970-01-01T00:00:00Z  3.12  locked  -${' '.repeat(70)}  ${a}  (here)`,
        '',
      ].join('\n'),
    );
  });

  test('prints JSON when asked', async () => {
    const { run, asked } = await commandScene();
    const { stdout } = await run(['history', 'localhost:5000/app', '--json']);
    expect(asked).toEqual(['history localhost:5000 app -']);
    const { image, moves } = JSON.parse(stdout) as { image: string; moves: { at: string }[] };
    expect([image, moves[0]?.at]).toEqual(['localhost:5000/app', '2026-07-01T08:30:00.000Z']);
  });

  test('fails with what the server says about a wrong name', async () => {
    const { run } = await commandScene();
    const failed = { code: 1, stdout: '', stderr: 'entrepot: "Python" is no image name\n' };
    expect(await run(['history', 'Python'])).toEqual(failed);
  });
});

describe('entrepot rollback', () => {
  test('sets a tag, and releases it', async () => {
    const { run, asked } = await commandScene();
    const back = await run(['rollback', 'python:3', '--to', digestOf('a')]);
    expect([back.code, back.stderr]).toEqual([0, '']);
    expect(back.stdout).toBe(
      `docker.io/library/python:3 is served as ${digestOf('a')}; to undo: entrepot rollback python:3 --release\n`,
    );
    const released = await run(['rollback', 'python:3', '--release']);
    expect(released.stdout).toBe('docker.io/library/python:3 follows upstream again\n');
    expect(asked).toEqual([
      `rollback docker.io library/python 3 ${digestOf('a')}`,
      'release docker.io library/python 3',
    ]);
  });

  test('fails when the server refuses', async () => {
    const { run } = await commandScene();
    const { code, stderr } = await run(['rollback', 'python:3', '--to', digestOf('f')]);
    expect([code, stderr]).toEqual([1, 'entrepot: that manifest is not stored here\n']);
  });

  test.each([
    ['without a tag', ['rollback', 'localhost:5000/python', '--release']],
    ['with neither of the two', ['rollback', 'python:3']],
    ['with both', ['rollback', 'python:3', '--release', '--to', digestOf('a')]],
    ['with an unknown option', ['rollback', 'python:3', '--release', '--force']],
    ['without an image', ['rollback', '--release']],
  ])('is wrong usage %s: exit code 2', async (_how, args) => {
    const { run, asked } = await commandScene();
    const { code, stderr } = await run(args);
    expect([code, asked]).toEqual([2, []]);
    expect(stderr).toMatch(/^error: .*\n\nUsage: entrepot rollback/);
  });
});

describe('entrepot lock', () => {
  test('prints a lock file, or writes it and says so', async () => {
    const { run, folder, asked } = await commandScene();
    const { stdout } = await run(['lock', 'python:3-slim']);
    expect(stdout.endsWith(`version: 1\n${lockedPython}`)).toBe(true);
    const written = await run(['lock', 'python:3-slim', '-o', 'images.lock.yaml']);
    expect(written).toEqual({ code: 0, stdout: 'images.lock.yaml: written, 1 tag\n', stderr: '' });
    expect(readFileSync(join(folder, 'images.lock.yaml'), 'utf8')).toBe(stdout);
    const again = await run(['lock', '-o', 'images.lock.yaml']);
    expect(again.stdout).toBe('images.lock.yaml: unchanged, 1 tag\n');
    expect(new Set(asked)).toEqual(new Set(['lock docker.io/library/python:3-slim']));
  });

  test('reads names from a file and from standard input', async () => {
    const { run, folder, asked } = await commandScene();
    writeFileSync(join(folder, 'list'), '# ours\n\nperl:5  # not yet 7\r\n ghcr.io/a/b:plain\n');
    expect((await run(['lock', 'python:3', '-f', 'list'])).code).toBe(0);
    expect((await run(['lock', '-f', '-'], 'ruby:3\n')).code).toBe(0);
    expect(asked).toEqual([
      'lock docker.io/library/python:3 docker.io/library/perl:5 ghcr.io/a/b:plain',
      'lock docker.io/library/ruby:3',
    ]);
  });

  test('prints JSON when asked', async () => {
    const { run } = await commandScene();
    const { stdout } = await run(['lock', 'ghcr.io/a/b:plain', '--json']);
    expect(JSON.parse(stdout)).toEqual({
      images: [{ image: 'ghcr.io/a/b', tag: 'plain', digest: digestOf('c') }],
    });
  });

  test('--check says whether the file is what would be written, and changes nothing', async () => {
    const { run, folder } = await commandScene();
    const file = join(folder, 'lock.yaml');
    await run(['lock', 'python:3-slim', '-o', 'lock.yaml']);
    const good = readFileSync(file, 'utf8');
    const check = ['lock', 'python:3-slim', '-o', 'lock.yaml', '--check'];
    expect(await run(check)).toEqual({ code: 0, stdout: 'lock.yaml: up to date\n', stderr: '' });
    const old = good.replace(digestOf('c'), digestOf('9'));
    writeFileSync(file, old);
    const differs = await run(check);
    expect([differs.code, differs.stderr]).toEqual([1, '']);
    expect(differs.stdout).toContain(`-      digest: ${digestOf('9')}\n+      digest: ${digestOf('c')}\n`);
    const { code, stdout } = await run([...check, '--json']);
    expect([code, JSON.parse(stdout)]).toEqual([1, { file: 'lock.yaml', upToDate: false }]);
    expect(readFileSync(file, 'utf8')).toBe(old);
  });

  test('--check of a file that is not there shows all of it as missing, and does not make it', async () => {
    const { run, folder } = await commandScene();
    const { code, stdout } = await run(['lock', 'python:3', '-o', 'none.yaml', '--check']);
    expect(code).toBe(1);
    expect(stdout).toContain('+version: 1\n');
    expect(existsSync(join(folder, 'none.yaml'))).toBe(false);
  });

  test.each([
    ['nothing to lock', ['lock'], 2],
    ['--check without a file', ['lock', 'python:3', '--check'], 2],
    ['an empty list', ['lock', '-f', '-'], 1],
    ['a list that is not there', ['lock', '-f', 'none'], 1],
    ['no names and no lock file yet', ['lock', '-o', 'none.yaml'], 1],
    ['a name without a tag', ['lock', 'python'], 1],
  ])('with %s: exit code', async (_what, args, expected) => {
    const { run, asked } = await commandScene();
    const { code, stdout, stderr } = await run(args);
    expect([code, stdout, asked]).toEqual([expected, '', []]);
    expect(stderr).toMatch(/^(?:error|entrepot): /);
  });
});

describe('without a server', () => {
  test('commands open the storage themselves', async () => {
    const { run, folder } = await commandScene({ listening: false });
    const { code, stdout, stderr } = await run(['history', 'python']);
    expect([code, stderr]).toEqual([0, '']);
    expect(stdout).toBe(
      'nothing is recorded of docker.io/library/python: no tag of it was pulled through here\n',
    );
    expect(existsSync(join(folder, 'index.db'))).toBe(true);
  });
});

describe('a wrong configuration', () => {
  test('is told with every problem: exit code 1', async () => {
    const { run, folder, asked } = await commandScene();
    writeFileSync(join(folder, 'config.yaml'), 'storag: x\n');
    const { code, stderr } = await run(['history', 'python']);
    expect([code, asked]).toEqual([1, []]);
    expect(stderr).toContain('config.yaml:1');
  });
});

describe('entrepot hash-password', () => {
  test('hashes standard input, less one line end', async () => {
    const { run } = await commandScene({ listening: false });
    const { code, stdout, stderr } = await run(['hash-password'], 'secret\n');
    expect([code, stderr]).toEqual([0, '']);
    expect(stdout).toMatch(/^\$2[aby]\$10\$[./A-Za-z0-9]{53}\n$/);
    const { compare } = await import('bcryptjs');
    expect(await compare('secret', stdout.trim())).toBe(true);
  });

  test.each([
    ['an empty password', ''],
    ['one longer than bcrypt reads', 'x'.repeat(73)],
  ])('refuses %s: exit code 1', async (_what, password) => {
    const { run } = await commandScene({ listening: false });
    const { code, stdout, stderr } = await run(['hash-password'], password);
    expect([code, stdout]).toEqual([1, '']);
    expect(stderr).toMatch(/^entrepot: the password is /);
  });

  test('takes no argument, which others could see', async () => {
    const { run } = await commandScene({ listening: false });
    expect((await run(['hash-password', 'secret'])).code).toBe(2);
  });
});

test('a process of its own prints the same, ends with the same codes, and reads a pipe', async () => {
  const { run, spawned } = await commandScene();
  const history = await spawned(['history', 'python']);
  expect([history.code, history.stderr]).toEqual([0, '']);
  expect(history).toEqual(await run(['history', 'python']));
  expect((await spawned(['rollback', 'python:3', '--to', digestOf('f')])).code).toBe(1);
  expect((await spawned(['rollback', 'python:3'])).code).toBe(2);
  const hashed = await spawned(['hash-password'], 'secret\n');
  expect([hashed.code, hashed.stderr]).toEqual([0, '']);
  expect(hashed.stdout).toMatch(/^\$2[aby]\$10\$/);
});

test('every command has a help text: exit code 0', async () => {
  const { run } = await commandScene({ listening: false });
  for (const command of ['history', 'rollback', 'lock', 'hash-password']) {
    const { code, stdout } = await run([command, '--help']);
    expect([code, stdout.split('\n')[0]]).toEqual([0, expect.stringContaining(`Usage: entrepot ${command}`)]);
  }
});
