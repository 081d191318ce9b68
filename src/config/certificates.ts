import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { rawUpstreams } from './checks.ts';
import { errorCode, type Finding, pathText } from './problems.ts';

/** PEM texts by the path (as `pathText` writes it) of the upstream that named the file. */
export type Certificates = {
  readonly pem: ReadonlyMap<string, string>;
  readonly findings: readonly Finding[];
};

/** Reads the file of every upstream's `ca` key in a raw document; relative paths are relative to `folder`. */
export function readCertificates(document: unknown, folder: string): Certificates {
  const pem = new Map<string, string>();
  const findings: Finding[] = [];
  for (const { path, upstream } of rawUpstreams(document)) {
    const file = upstream['ca'];
    if (typeof file !== 'string' || file === '') continue;
    const text = readPem(file, folder);
    if (text.kind === 'value') pem.set(pathText(path), text.value);
    else findings.push({ path: [...path, 'ca'], message: text.message });
  }
  return { pem, findings };
}

function readPem(
  file: string,
  folder: string,
): { kind: 'value'; value: string } | { kind: 'refused'; message: string } {
  try {
    const text = readFileSync(resolve(folder, file), 'utf8');
    if (text.includes('-----BEGIN CERTIFICATE-----')) return { kind: 'value', value: text };
    return { kind: 'refused', message: 'the file holds no PEM certificate (-----BEGIN CERTIFICATE-----)' };
  } catch (error) {
    // The path may have been filled in from a secret, so only the folder is named.
    return {
      kind: 'refused',
      message: `cannot read this PEM file, relative to ${folder} (${errorCode(error)})`,
    };
  }
}
