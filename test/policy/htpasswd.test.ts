import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { hashSync } from 'bcryptjs';
import { expect, onTestFinished, test } from 'vitest';
import { HtpasswdFile, isBcryptHash, parseHtpasswd } from '../../src/policy/htpasswd.ts';
import { captureLog } from '../helpers/capture-log.ts';
import { makeManualClock } from '../helpers/manual-clock.ts';

const hash = hashSync('secret', 4);

test.each([
  [hash, true],
  [hash.replace('$2b$', '$2y$'), true],
  [hash.replace('$2b$', '$2a$'), true],
  [hash.replace('$2b$', '$2x$'), false],
  [hash.replace('$04$', '$03$'), false],
  [hash.replace('$04$', '$32$'), false],
  [hash.slice(0, -1), false],
  [`${hash}x`, false],
  ['$apr1$abcdefgh$0123456789abcdefghijkl', false],
  ['{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=', false],
  ['secret', false],
  ['', false],
])('%s is a bcrypt hash: %s', (text, expected) => {
  expect(isBcryptHash(text)).toBe(expected);
});

test('a file is read line by line, and what cannot be used is told without the hash', () => {
  const other = hashSync('other', 4);
  const { hashes, problems } = parseHtpasswd(
    `# users\r\nalice:${hash}\r\n\n bob:${other} \nalice:${other}\neve:{SHA}W6ph5Mm5\n:${hash}\nnocolon\n`,
  );
  expect([...hashes]).toEqual([
    ['alice', hash],
    ['bob', other],
  ]);
  expect(problems).toEqual([
    'line 5: the name stands on an earlier line already',
    'line 6: the hash is not bcrypt; make it with htpasswd -B',
    'line 7 is not of the form name:hash',
    'line 8 is not of the form name:hash',
  ]);
});

async function openFile(text: string) {
  const directory = mkdtempSync(join(tmpdir(), 'htpasswd-'));
  onTestFinished(() => rmSync(directory, { recursive: true }));
  const path = join(directory, 'htpasswd');
  writeFileSync(path, text);
  const clock = makeManualClock();
  const { log, lines } = captureLog();
  const file = await HtpasswdFile.open({ clock, log }, path);
  return { file, clock, lines, path };
}

test('a changed file is read again, at most once a second', async () => {
  const { file, clock, path } = await openFile(`alice:${hash}\n`);
  writeFileSync(`${path}.new`, `alice:${hash}\nbob:${hash}\n`);
  renameSync(`${path}.new`, path);
  clock.advance(999);
  expect(file.refresh()).toBeUndefined();
  clock.advance(1);
  const refreshing = file.refresh();
  expect(file.refresh()).toBe(refreshing);
  await refreshing;
  expect([...file.hashes.keys()]).toEqual(['alice', 'bob']);
  expect(file.refresh()).toBeUndefined();
});

test('a file that goes away leaves its users, says so once, and is read when it is back', async () => {
  const { file, clock, lines, path } = await openFile(`alice:${hash}\n`);
  rmSync(path);
  for (let look = 0; look < 3; look++) {
    clock.advance(1_000);
    await file.refresh();
  }
  expect([...file.hashes.keys()]).toEqual(['alice']);
  expect(lines.map(({ message }) => message)).toEqual(['the htpasswd file cannot be read: its users stay']);
  writeFileSync(path, `bob:${hash}\n`);
  clock.advance(1_000);
  await file.refresh();
  expect([...file.hashes.keys()]).toEqual(['bob']);
});

test('a file that is not there at first is an error', async () => {
  const deps = { clock: makeManualClock(), log: captureLog().log };
  await expect(HtpasswdFile.open(deps, '/nonexistent/htpasswd')).rejects.toThrow(/ENOENT/);
});
