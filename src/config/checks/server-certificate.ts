import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto';
import type { Finding } from '../problems.ts';
import type { Reading } from '../schema/scalars.ts';

/**
 * Checks that the files of the raw map `tls` hold a certificate and the private key that belongs to it. Keys that
 * are missing or have a wrong type are left to the schema.
 * @param readFile reads a file of the configuration as text
 */
export function readServerCertificate(
  tls: Readonly<Record<string, unknown>>,
  readFile: (file: string) => Reading<string>,
): Finding[] {
  const findings: Finding[] = [];
  const read = <T>(key: string, parse: (text: string) => T, fault: string): T | undefined => {
    const file = tls[key];
    if (typeof file !== 'string' || file === '') return undefined;
    const text = readFile(file);
    const value = text.kind === 'value' ? attempt(() => parse(text.value)) : undefined;
    const message = text.kind === 'value' ? fault : text.message;
    if (value === undefined) findings.push({ path: ['tls', key], message });
    return value;
  };
  const certificate = read('cert', firstCertificate, 'the file holds no PEM certificate that can be read');
  const privateKey = read('key', createPrivateKey, 'the file holds no PEM private key that is not encrypted');
  if (certificate && privateKey && !belongs(privateKey, certificate)) {
    findings.push({ path: ['tls', 'key'], message: 'is not the key of the certificate in tls.cert' });
  }
  return findings;
}

/** Only PEM, as TLS will read it: the class itself would take DER as well. */
function firstCertificate(text: string): X509Certificate | undefined {
  return text.includes('-----BEGIN CERTIFICATE-----') ? new X509Certificate(text) : undefined;
}

function belongs(key: KeyObject, certificate: X509Certificate): boolean {
  return attempt(() => certificate.checkPrivateKey(key)) === true;
}

/** What the parsers throw may quote what they read, so nothing of it is kept. */
function attempt<T>(action: () => T): T | undefined {
  try {
    return action();
  } catch {
    return undefined;
  }
}
