import { readFileSync } from 'node:fs';
import { basename, resolve } from 'node:path';
import { rawUpstreams } from './checks/checks.ts';
import { readServerCertificate } from './checks/server-certificate.ts';
import { type LockedImages, parseLockfile } from './lockfile.ts';
import { ConfigError, type ConfigPath, errorCode, type Finding, pathText } from './problems.ts';
import { isMap, mapAt } from './raw.ts';
import { readPasswordHash } from './schema/account-scalars.ts';
import { type Reading, refused } from './schema/scalars.ts';

/** What stands in the files that a configuration names. */
export type NamedFiles = {
  /** PEM texts by the path (as `pathText` writes it) of the upstream whose `ca` named the file. */
  readonly pem: ReadonlyMap<string, string>;
  readonly locked?: LockedImages;
  readonly findings: readonly Finding[];
};

/** Where relative paths begin, and whether a lockfile that is not there stands for an empty one. */
export type FileOptions = { readonly folder: string; readonly missingLockfile?: 'empty' | undefined };

/** Reads and checks every file that a raw document names; no finding holds what stands in one, nor its name. */
export function readNamedFiles(document: unknown, options: FileOptions): NamedFiles {
  const { folder } = options;
  const findings: Finding[] = [];
  const pem = new Map<string, string>();
  for (const { path, upstream } of rawUpstreams(document)) {
    const ca = checked([...path, 'ca'], upstream['ca'], (file) => readCertificates(file, folder), findings);
    if (ca !== undefined) pem.set(pathText(path), ca);
    checked(
      [...path, 'dockerConfig'],
      upstream['dockerConfig'],
      (file) => readLogins(file, folder),
      findings,
    );
  }
  const { lockfile } = mapAt(document, 'policy');
  const locked = checked(
    ['policy', 'lockfile'],
    lockfile,
    (file) => readLockfile(file, options, findings),
    findings,
  );
  const { htpasswd } = mapAt(document, 'access');
  checked(['access', 'htpasswd'], htpasswd, (file) => readUsers(file, folder), findings);
  findings.push(...readServerCertificate(mapAt(document, 'tls'), (file) => readText(file, folder)));
  return { pem, findings, ...(locked && { locked }) };
}

/** Absent, and in `findings`, when the file is not as it should be; what is no file name is the schema's matter. */
function checked<T>(
  path: ConfigPath,
  file: unknown,
  read: (file: string) => Reading<T>,
  findings: Finding[],
): T | undefined {
  if (typeof file !== 'string' || file === '') return undefined;
  const result = read(file);
  if (result.kind === 'value') return result.value;
  findings.push({ path, message: result.message });
  return undefined;
}

function readCertificates(file: string, folder: string): Reading<string> {
  const text = readText(file, folder);
  if (text.kind === 'refused' || text.value.includes('-----BEGIN CERTIFICATE-----')) return text;
  return refused('the file holds no PEM certificate (-----BEGIN CERTIFICATE-----)');
}

function readLogins(file: string, folder: string): Reading<unknown> {
  const text = readText(file, folder);
  if (text.kind === 'refused') return text;
  try {
    const value: unknown = JSON.parse(text.value);
    if (isMap(value)) return { kind: 'value', value };
  } catch {
    // The exception's message quotes the file, which holds passwords.
  }
  return refused('the file holds no JSON object, as docker login writes one');
}

function readUsers(file: string, folder: string): Reading<unknown> {
  const text = readText(file, folder);
  if (text.kind === 'refused') return text;
  const lines = text.value.split(/\r?\n/);
  const wrong = lines.findIndex((line) => !/^\s*(?:#|$)/.test(line) && !isUserLine(line));
  if (wrong === -1) return text;
  return refused(
    `line ${wrong + 1} of the file is no USER:HASH with a bcrypt hash, as "htpasswd -B" writes it`,
  );
}

function isUserLine(line: string): boolean {
  const [, hash = ''] = /^[^:]+:(.*)$/.exec(line.trim()) ?? [];
  return readPasswordHash(hash).kind === 'value';
}

function readLockfile(
  file: string,
  options: FileOptions,
  findings: Finding[],
): Reading<LockedImages | undefined> {
  const path = resolve(options.folder, file);
  const empty: LockedImages = Object.freeze(Object.create(null));
  try {
    return { kind: 'value', value: parseLockfile(readFileSync(path, 'utf8'), basename(path)).images };
  } catch (error) {
    if (errorCode(error) === 'ENOENT' && options.missingLockfile) return { kind: 'value', value: empty };
    if (!(error instanceof ConfigError)) {
      return refused(`cannot read this file, relative to ${options.folder} (${errorCode(error)})`);
    }
    // One finding a problem: a place in another file has no line of its own here.
    const messages = error.problems.map((problem) => {
      return `line ${problem.line ?? 1} of the file: ${`${problem.path} ${problem.message}`.trim()}`;
    });
    findings.push(...messages.map((message) => ({ path: ['policy', 'lockfile'], message })));
    return { kind: 'value', value: undefined };
  }
}

/** The path may have been filled in from a secret, so a message names only the folder. */
function readText(file: string, folder: string): Reading<string> {
  try {
    return { kind: 'value', value: readFileSync(resolve(folder, file), 'utf8') };
  } catch (error) {
    return refused(`cannot read this file, relative to ${folder} (${errorCode(error)})`);
  }
}
