import { PassThrough } from 'node:stream';
import { expect, test } from 'vitest';
import { type InputStream, readSecret } from '../../src/cli/hidden-input.ts';

/** An input that is a terminal, and what was written to the screen. */
function terminal(keys: string) {
  const input: InputStream & { isTTY?: boolean } = new PassThrough();
  input.isTTY = true;
  let screen = '';
  const prompts = new PassThrough();
  prompts.on('data', (chunk) => {
    screen += String(chunk);
  });
  const secret = readSecret(input, prompts);
  (input as PassThrough).write(keys);
  return { secret, screen: () => screen };
}

test('a terminal is asked twice, and shows nothing of what is typed', async () => {
  const { secret, screen } = terminal('pässword\rpässword\r');
  expect(await secret).toBe('pässword');
  expect(screen()).toBe('Password: \nAgain: \n');
});

test('typing errors can be taken back', async () => {
  const { secret } = terminal('secrex\x7ft\rsecret\r');
  expect(await secret).toBe('secret');
});

test('two that differ are refused', async () => {
  await expect(terminal('one\rtwo\r').secret).rejects.toThrow('the two passwords differ');
});

test.each([
  ['Ctrl-C', '\x03'],
  ['Ctrl-D', '\x04'],
  ['Ctrl-C at the second question', 'one\r\x03'],
])('%s gives up', async (_key, keys) => {
  await expect(terminal(keys).secret).rejects.toThrow('no password was given');
});

test.each([
  ['secret\n', 'secret'],
  ['secret\r\n', 'secret'],
  ['secret', 'secret'],
  [' two words \n\n', ' two words \n'],
  ['', ''],
])('of a pipe with %j the secret is %j', async (sent, expected) => {
  const input = new PassThrough();
  input.end(sent);
  expect(await readSecret(input, new PassThrough())).toBe(expected);
});
