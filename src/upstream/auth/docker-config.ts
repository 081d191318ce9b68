import { readFile, stat } from 'node:fs/promises';
import { type Credential, CredentialError, credentialKeys } from './credential.ts';
import { runCredentialHelper } from './credential-helper.ts';

/** The longest `config.json` that is read, in bytes. */
const maxFile = 1024 * 1024;

type Entries = Readonly<Record<string, unknown>>;

/**
 * The credentials that a Docker `config.json` holds for an upstream: those of its helper in `credHelpers`, else
 * those in `auths`, else those of the `credsStore`. An entry counts when it names exactly the upstream's host and
 * port, be it as a URL; one for a path below the host does not. The entry of Docker Hub is
 * `https://index.docker.io/v1/`. `undefined` when there is none. Throws a `CredentialError` when the file cannot be
 * read, or the signal's reason.
 */
export async function readDockerConfig(
  path: string,
  upstream: URL,
  signal: AbortSignal,
): Promise<Credential | undefined> {
  const config = parseObject(await readText(path, signal));
  if (config === undefined) throw new CredentialError(`${path} is not a Docker config.json`);
  const keys = credentialKeys(upstream);
  const helper = entryFor(entriesOf(config['credHelpers']), keys);
  if (typeof helper === 'string') return runCredentialHelper(helper, upstream, signal);
  const found = readEntry(entryFor(entriesOf(config['auths']), keys), path);
  const store = config['credsStore'];
  if (found !== undefined || typeof store !== 'string' || store === '') return found;
  return runCredentialHelper(store, upstream, signal);
}

async function readText(path: string, signal: AbortSignal): Promise<string> {
  try {
    const { size } = await stat(path);
    if (size > maxFile) throw new CredentialError(`${path} is longer than ${maxFile} bytes`);
    return await readFile(path, { encoding: 'utf8', signal });
  } catch (error) {
    signal.throwIfAborted();
    if (error instanceof CredentialError) throw error;
    const code = error instanceof Error && 'code' in error ? String(error.code) : 'error';
    throw new CredentialError(`${path} cannot be read (${code})`, { cause: error });
  }
}

function entryFor(entries: Entries, keys: readonly string[]): unknown {
  for (const key of keys) if (Object.hasOwn(entries, key)) return entries[key];
  const hosts = keys.map(hostOfKey);
  const [, entry] = Object.entries(entries).find(([key]) => hosts.includes(hostOfKey(key) ?? '')) ?? [];
  return entry;
}

/** The host and port that a key names: bare, or in a URL to the registry's root. */
function hostOfKey(key: string): string | undefined {
  const url = URL.parse(/^https?:\/\//i.test(key) ? key : `https://${key}`);
  if (url === null) return undefined;
  if (url.username !== '' || url.password !== '' || url.search !== '' || url.hash !== '') return undefined;
  return /^\/(?:v[12]\/?)?$/.test(url.pathname) ? url.host : undefined;
}

function readEntry(entry: unknown, path: string): Credential | undefined {
  const { auth, identitytoken, username, password } = entriesOf(entry);
  if (typeof identitytoken === 'string' && identitytoken !== '') {
    return { kind: 'identity-token', token: identitytoken };
  }
  if (typeof auth === 'string' && auth !== '') {
    const [, user, secret] = /^([^:]+):(.*?)\0*$/s.exec(Buffer.from(auth, 'base64').toString('utf8')) ?? [];
    if (user !== undefined && secret !== undefined)
      return { kind: 'password', username: user, password: secret };
    throw new CredentialError(`${path} holds a malformed entry for it`);
  }
  if (typeof username !== 'string' || typeof password !== 'string' || username === '') return undefined;
  return { kind: 'password', username, password };
}

function entriesOf(value: unknown): Entries {
  return typeof value === 'object' && value !== null ? (value as Entries) : {};
}

function parseObject(text: string): Entries | undefined {
  try {
    const parsed: unknown = JSON.parse(text);
    return typeof parsed === 'object' && parsed !== null ? (parsed as Entries) : undefined;
  } catch {
    return undefined;
  }
}
