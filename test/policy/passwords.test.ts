import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { hashSync } from 'bcryptjs';
import { expect, onTestFinished, test, vi } from 'vitest';
import { hashPassword } from '../../src/policy/bcrypt-hash.ts';
import { BcryptThread } from '../../src/policy/bcrypt-thread.ts';
import { HtpasswdFile } from '../../src/policy/htpasswd.ts';
import { LoginThrottle } from '../../src/policy/login-throttle.ts';
import { type LoginResult, Passwords } from '../../src/policy/passwords.ts';
import { captureLog } from '../helpers/capture-log.ts';
import { nobody } from '../helpers/facts.ts';
import { makeManualClock } from '../helpers/manual-clock.ts';

const cost = 4;

function openPasswords(users: Readonly<Record<string, string>>, file?: HtpasswdFile) {
  const clock = makeManualClock();
  const { log, lines } = captureLog();
  const results: LoginResult[] = [];
  const hashes = new Map(Object.entries(users).map(([name, password]) => [name, hashSync(password, cost)]));
  const throttle = new LoginThrottle({ clock });
  const compare = vi.spyOn(BcryptThread.prototype, 'compare');
  const passwords = new Passwords(
    { clock, log, throttle, file, facts: { tell: ({ result }) => results.push(result) } },
    { hashes },
  );
  onTestFinished(async () => {
    compare.mockRestore();
    await passwords.close();
  });
  return { passwords, clock, lines, results, compare };
}

test('the right password is right, and every other is wrong', async () => {
  const { passwords } = openPasswords({ alice: 'correct horse', bob: 'pâss:wörd' });
  const kinds = async (name: string, password: string) => (await passwords.check(name, password, '::1')).kind;
  expect(await kinds('alice', 'correct horse')).toBe('right');
  expect(await kinds('bob', 'pâss:wörd')).toBe('right');
  expect(await kinds('alice', 'correct Horse')).toBe('wrong');
  expect(await kinds('alice', '')).toBe('wrong');
  expect(await kinds('bob', 'correct horse')).toBe('wrong');
  expect(await kinds('carol', 'correct horse')).toBe('wrong');
  expect(await kinds('', '')).toBe('wrong');
});

test('hashes of every spelling are understood', async () => {
  const clock = makeManualClock();
  const hash = hashSync('secret', cost);
  const hashes = new Map(['$2a$', '$2b$', '$2y$'].map((mark) => [mark, hash.replace('$2b$', mark)]));
  const passwords = new Passwords(
    { clock, log: captureLog().log, throttle: new LoginThrottle({ clock }), facts: nobody },
    { hashes },
  );
  onTestFinished(() => passwords.close());
  for (const name of hashes.keys()) {
    expect(await passwords.check(name, 'secret', '::1')).toEqual({ kind: 'right' });
  }
});

test('a verdict is remembered for a minute, right or wrong, and many at once are one comparison', async () => {
  const { passwords, clock, compare } = openPasswords({ alice: 'secret' });
  const many = Array.from({ length: 20 }, () => passwords.check('alice', 'secret', '::1'));
  expect(new Set((await Promise.all(many)).map(({ kind }) => kind))).toEqual(new Set(['right']));
  expect(compare).toHaveBeenCalledTimes(1);
  await passwords.check('alice', 'wrong', '::1');
  expect(passwords.check('alice', 'secret', '::1')).toEqual({ kind: 'right' });
  expect(passwords.check('alice', 'wrong', '::1')).toEqual({ kind: 'wrong' });
  expect(compare).toHaveBeenCalledTimes(2);
  clock.advance(60_000);
  await passwords.check('alice', 'secret', '::1');
  expect(compare).toHaveBeenCalledTimes(3);
});

test('a name that nobody has costs a comparison too, each name its own', async () => {
  const { passwords, compare } = openPasswords({ alice: 'secret' });
  expect(await passwords.check('mallory', 'secret', '::1')).toEqual({ kind: 'wrong' });
  expect(await passwords.check('trudy', 'secret', '::1')).toEqual({ kind: 'wrong' });
  expect(await passwords.check('alice', 'wrong', '::1')).toEqual({ kind: 'wrong' });
  expect(compare).toHaveBeenCalledTimes(3);
});

test('after ten failures a client is not heard for a while; others are, and what was right before stays right', async () => {
  const { passwords, clock, compare, results } = openPasswords({ alice: 'secret' });
  expect(await passwords.check('alice', 'secret', '192.0.2.1')).toEqual({ kind: 'right' });
  const guesses = Array.from({ length: 12 }, (_, index) =>
    passwords.check('alice', `guess ${index}`, '192.0.2.1'),
  );
  const kinds = (await Promise.all(guesses)).map(({ kind }) => kind);
  expect(kinds).toEqual([...Array<string>(10).fill('wrong'), 'limited', 'limited']);
  expect(compare).toHaveBeenCalledTimes(11);
  expect(results).toEqual(['accepted', 'limited', 'limited', ...Array<string>(10).fill('refused')]);
  expect(passwords.check('alice', 'secret', '192.0.2.1')).toEqual({ kind: 'right' });
  clock.advance(1);
  expect(await passwords.check('alice', 'guess', '192.0.2.2')).toEqual({ kind: 'wrong' });
  expect(passwords.check('alice', 'another', '192.0.2.1')).toEqual({ kind: 'limited', retryAfter: 6 });
});

test('right logins use up no attempts', async () => {
  const users = Object.fromEntries(Array.from({ length: 25 }, (_, index) => [`user${index}`, 'secret']));
  const { passwords } = openPasswords(users);
  for (const name of Object.keys(users)) {
    expect(await passwords.check(name, 'secret', '::1')).toEqual({ kind: 'right' });
  }
});

test('failed logins are logged with the address, and with no word that was typed but the name of a user', async () => {
  const { passwords, lines } = openPasswords({ alice: 'secret' });
  await passwords.check('alice', 'hunter2', '192.0.2.1');
  await passwords.check('hunter3', 'x', '192.0.2.1');
  expect(lines.map(({ fields }) => fields)).toEqual([
    { client: '192.0.2.1', user: 'alice' },
    { client: '192.0.2.1', user: undefined },
  ]);
  expect(JSON.stringify(lines)).not.toContain('hunter');
});

test('users of an htpasswd file log in, and one who is taken out of it no longer does', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'htpasswd-'));
  onTestFinished(() => rmSync(directory, { recursive: true }));
  const path = join(directory, 'htpasswd');
  const of = (name: string, password: string) => `${name}:${hashSync(password, cost)}\n`;
  writeFileSync(path, of('carol', 'first') + of('alice', 'of the file'));
  const clock = makeManualClock();
  const file = await HtpasswdFile.open({ clock, log: captureLog().log }, path);
  const { passwords } = openPasswords({ alice: 'secret' }, file);
  expect(await passwords.check('carol', 'first', '::1')).toEqual({ kind: 'right' });
  expect(await passwords.check('alice', 'of the file', '::1')).toEqual({ kind: 'wrong' });
  writeFileSync(path, of('dave', 'second one'));
  clock.advance(1_000);
  expect(await passwords.check('carol', 'first', '::1')).toEqual({ kind: 'wrong' });
  expect(await passwords.check('dave', 'second one', '::1')).toEqual({ kind: 'right' });
  expect([passwords.knows('carol'), passwords.knows('dave'), passwords.knows('alice')]).toEqual([
    false,
    true,
    true,
  ]);
});

test('where nobody can log in, nothing is compared', () => {
  const { passwords, compare } = openPasswords({});
  expect(passwords.any).toBe(false);
  expect(passwords.check('alice', 'secret', '::1')).toEqual({ kind: 'wrong' });
  expect(compare).not.toHaveBeenCalled();
});

test('a hash is made that the thread accepts, and not of a password that bcrypt would cut', async () => {
  const hash = await hashPassword('s3cret');
  const thread = new BcryptThread();
  onTestFinished(() => thread.close());
  expect(await thread.compare('s3cret', hash)).toBe(true);
  expect(await thread.compare('s3cret ', hash)).toBe(false);
  await expect(hashPassword('')).rejects.toThrow(RangeError);
  await expect(hashPassword('é'.repeat(37))).rejects.toThrow('72 bytes');
});

test('the thread is closed without leaving anybody waiting', async () => {
  const thread = new BcryptThread();
  const waiting = thread.compare('secret', hashSync('secret', 12));
  const refused = expect(waiting).rejects.toMatchObject({ code: 'BCRYPT' });
  await thread.close();
  await refused;
  await expect(thread.compare('secret', 'x')).rejects.toMatchObject({ code: 'BCRYPT' });
  expect(thread.pending).toBe(0);
});

test('comparing leaves the main thread free', async () => {
  const thread = new BcryptThread();
  onTestFinished(() => thread.close());
  const hash = hashSync('secret', 12);
  let turns = 0;
  let done = false;
  const compared = thread.compare('secret', hash).then((right) => {
    done = true;
    return right;
  });
  while (!done) {
    turns += 1;
    await new Promise((resolve) => setImmediate(resolve));
  }
  expect(await compared).toBe(true);
  expect(turns).toBeGreaterThan(20);
});
