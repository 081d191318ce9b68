import { isIPv6 } from 'node:net';
import { isRegistryHostText, type Reading, refused } from './scalars.ts';

/** Beyond this a login would take seconds of processor time, and a few of them at once would block every other. */
const dearest = 15;

const makeHash = 'make one with "entrepot hash-password"';

/** Reads a bcrypt hash. A password in plain text is no hash, and neither are the other formats of htpasswd. */
export function readPasswordHash(text: string): Reading<string> {
  const match = /^\$2[aby]\$([0-9]{2})\$[./A-Za-z0-9]{53}$/.exec(text);
  if (!match) return refused(`must be a bcrypt hash ($2b$...), never the password itself: ${makeHash}`);
  const cost = Number(match[1]);
  if (cost >= 4 && cost <= dearest) return { kind: 'value', value: text };
  return refused(`must be a bcrypt hash with a cost of 4 to ${dearest}: ${makeHash}`);
}

/** Reads the URL at which clients ask for tokens: whole, so that nothing is guessed. */
export function readRealm(text: string): Reading<string> {
  const url = /^https?:\/\/[^\s\\]+$/.test(text) ? URL.parse(text) : undefined;
  const plain = url && url.username === '' && url.password === '' && !/[?#@]/.test(text);
  if (plain && url.pathname !== '/') return { kind: 'value', value: url.href };
  return refused(
    'must be the whole URL of the token endpoint, such as https://registry.corp/token: no query, no credentials',
  );
}

/** Reads a `Host` header value, as clients send it: lower case, the port if it is not the usual one. */
export function readHost(text: string): Reading<string> {
  const [, address = ''] = /^\[([^\]]+)\](?::[0-9]{1,5})?$/.exec(text) ?? [];
  if (isRegistryHostText(text) || isIPv6(address)) return { kind: 'value', value: text };
  return refused(
    'must be a host such as registry.corp or registry.corp:5000: lower case, no scheme, no path',
  );
}

/** Reads where tokens may be asked for besides the upstream: a host (https is meant), or an origin. */
export function readTrustedRealm(text: string): Reading<string> {
  const host = text.replace(/^https?:\/\//, '');
  if (readHost(host).kind === 'value') return { kind: 'value', value: text };
  return refused('must be a host such as auth.corp, or an origin such as https://auth.corp:5001: no path');
}

/** Reads the NAME of a program `docker-credential-NAME`; never a path. */
export function readHelperName(text: string): Reading<string> {
  if (text.length <= 64 && /^[a-z0-9]+(?:-[a-z0-9]+)*$/.test(text)) return { kind: 'value', value: text };
  return refused(
    'must be the NAME of docker-credential-NAME, such as ecr-login: lower case letters, digits, "-"',
  );
}
