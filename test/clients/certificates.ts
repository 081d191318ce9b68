import { mkdir, rename } from 'node:fs/promises';
import path from 'node:path';
import { mustRun } from './process.ts';

/** The files of a certificate and its key, as PEM. */
export type CertificateFiles = { readonly cert: string; readonly key: string };

/** A private certificate authority. */
export type Authority = {
  /** Its own certificate: what clients must trust. */
  readonly cert: string;
  /** Writes a certificate for host names and addresses, and its key, into a folder, over what is there. */
  issue(folder: string, names: readonly string[]): Promise<CertificateFiles>;
};

const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2'];

/** Makes a certificate authority in a folder of its own. */
export async function makeAuthority(folder: string, name: string): Promise<Authority> {
  await mkdir(folder, { recursive: true });
  const cert = path.join(folder, 'ca.crt');
  const key = path.join(folder, 'ca.key');
  await openssl('req', '-x509', ...newKey, '-subj', `/CN=${name}`, '-keyout', key, '-out', cert);
  return {
    cert,
    issue: async (into, names) => {
      await mkdir(into, { recursive: true });
      const issued = { cert: path.join(into, 'tls.crt'), key: path.join(into, 'tls.key') };
      const fresh = { cert: `${issued.cert}.new`, key: `${issued.key}.new` };
      const subject = names.map((each) => (/^[0-9.]+$/.test(each) ? `IP:${each}` : `DNS:${each}`)).join(',');
      await openssl(
        ...['req', '-x509', '-CA', cert, '-CAkey', key, ...newKey],
        ...['-subj', `/CN=${names[0]}`, '-addext', `subjectAltName=${subject}`],
        ...['-addext', 'basicConstraints=critical,CA:FALSE', '-keyout', fresh.key, '-out', fresh.cert],
      );
      await rename(fresh.key, issued.key);
      await rename(fresh.cert, issued.cert);
      return issued;
    },
  };
}

async function openssl(...args: string[]): Promise<void> {
  await mustRun(['openssl', ...args]);
}
