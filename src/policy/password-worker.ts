import { parentPort } from 'node:worker_threads';
import { compareSync } from 'bcryptjs';

/** The entry of the password thread: bcrypt takes a tenth of a second on purpose, which no request should wait for. */

/** A password to compare with a hash. */
export type PasswordQuestion = { readonly id: number; readonly password: string; readonly hash: string };

/** Whether they agree; `right` is `undefined` when the hash cannot be read. */
export type PasswordReply = { readonly id: number; readonly right: boolean | undefined };

if (parentPort === null) throw new Error('this file is started as a worker thread');
const port = parentPort;

port.on('message', ({ id, password, hash }: PasswordQuestion) => {
  const reply: PasswordReply = { id, right: compare(password, hash) };
  port.postMessage(reply);
});

function compare(password: string, hash: string): boolean | undefined {
  try {
    return compareSync(password, hash);
  } catch {
    return undefined;
  }
}
