import { spawn } from 'node:child_process';
import { stat } from 'node:fs/promises';
import { delimiter, isAbsolute, join } from 'node:path';
import { type Credential, CredentialError, credentialKeys } from './credential.ts';

/** Milliseconds that a helper may take; those of the clouds make a request of their own. */
const timeout = 10_000;

/** Bytes that a helper may answer. */
const maxAnswer = 64 * 1024;

const namePattern = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;

/** How the helpers of Docker say that they know nothing, with exit code 1. */
const notFound = 'credentials not found in native keychain';

type Ending = { readonly code: number | null; readonly output: string };

/**
 * Asks `docker-credential-NAME get` for an upstream's credentials (the protocol of docker-credential-helpers): the
 * host goes to its standard input, and a user named `<token>` means an identity token. `undefined` when it says that
 * it knows none. The program is looked up in the absolute folders of `PATH` and run without a shell. Throws a
 * `CredentialError` that holds nothing of what the helper wrote, or the signal's reason.
 */
export async function runCredentialHelper(
  name: string,
  upstream: URL,
  signal: AbortSignal,
  limits: { readonly timeout?: number } = {},
): Promise<Credential | undefined> {
  if (!namePattern.test(name)) throw new CredentialError('the name of its credential helper is malformed');
  const program = `docker-credential-${name}`;
  const path = await findProgram(program);
  if (path === undefined) throw new CredentialError(`${program} is in no folder of PATH`);
  const [key = upstream.host] = credentialKeys(upstream);
  const { code, output } = await run(path, program, key, limits.timeout ?? timeout, signal);
  if (code === 0) {
    const credential = readAnswer(output);
    if (credential === undefined) throw new CredentialError(`${program} answered no credentials`);
    return credential;
  }
  if (output.trim() === notFound) return undefined;
  throw new CredentialError(`${program} ${code === null ? 'was killed' : `failed with exit code ${code}`}`);
}

async function findProgram(program: string): Promise<string | undefined> {
  const folders = (process.env['PATH'] ?? '').split(delimiter).filter((folder) => isAbsolute(folder));
  for (const folder of folders) {
    const path = join(folder, program);
    const found = await stat(path).catch(() => undefined);
    if (found?.isFile() && (found.mode & 0o111) !== 0) return path;
  }
  return undefined;
}

function run(
  path: string,
  program: string,
  input: string,
  limit: number,
  signal: AbortSignal,
): Promise<Ending> {
  signal.throwIfAborted();
  return new Promise((resolve, reject) => {
    // A group of its own, so that what the helper has started ends with it.
    const child = spawn(path, ['get'], { detached: true, stdio: ['pipe', 'pipe', 'ignore'] });
    const chunks: Buffer[] = [];
    let size = 0;
    const settle = (outcome: () => void) => {
      clearTimeout(timer);
      signal.removeEventListener('abort', onAbort);
      outcome();
    };
    const giveUp = (error: unknown) => {
      killGroup(child.pid);
      child.stdout.destroy();
      settle(() => reject(error));
    };
    const onAbort = () => giveUp(signal.reason);
    const timer = setTimeout(() => {
      giveUp(new CredentialError(`${program} did not answer within ${limit / 1000} s`));
    }, limit);
    signal.addEventListener('abort', onAbort, { once: true });
    child.stdout.on('data', (bytes: Buffer) => {
      chunks.push(bytes);
      size += bytes.length;
      if (size > maxAnswer) giveUp(new CredentialError(`${program} answered more than ${maxAnswer} bytes`));
    });
    child.once('error', (error: NodeJS.ErrnoException) => {
      settle(() => reject(new CredentialError(`${program} cannot be run (${error.code ?? error.name})`)));
    });
    child.once('close', (code) => {
      settle(() => resolve({ code, output: Buffer.concat(chunks).toString('utf8') }));
    });
    // It may well end without reading what it is asked.
    child.stdin.on('error', () => {}).end(input);
  });
}

function killGroup(pid: number | undefined): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, 'SIGKILL');
  } catch {
    // It has ended already.
  }
}

function readAnswer(output: string): Credential | undefined {
  let parsed: unknown;
  try {
    parsed = JSON.parse(output);
  } catch {
    return undefined;
  }
  if (typeof parsed !== 'object' || parsed === null) return undefined;
  const { Username: username, Secret: secret } = parsed as Readonly<Record<string, unknown>>;
  if (typeof username !== 'string' || typeof secret !== 'string' || secret === '') return undefined;
  if (username === '<token>') return { kind: 'identity-token', token: secret };
  return username === '' ? undefined : { kind: 'password', username, password: secret };
}
