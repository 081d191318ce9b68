import { getDomain } from 'tldts';
import { trustedOrigin } from '../egress/egress.ts';
import { isAddress, isLoopbackHost, isPrivateHost } from '../egress/hosts.ts';

/** Whether a token may be asked for at a realm; `reason` is a clause for an error message. */
type RealmVerdict =
  | { readonly kind: 'allowed'; readonly url: URL }
  | { readonly kind: 'refused'; readonly reason: string };

/**
 * Judges the `realm` of a challenge before anything is sent there: whoever answers for an upstream must not be
 * able to have credentials, or any request, sent to a place of its choice (CVE-2026-33540, CVE-2026-48978).
 * Allowed are https realms on the upstream's host or registrable domain (on that of a cloud only its known token
 * service), http realms only for an http upstream
 * on the very same host and port or with both on this machine, and `trusted` ones: `host[:port]` for https,
 * or an origin such as `http://auth.corp:5001`. A private address is allowed only where the upstream has it too.
 */
export function judgeRealm(realm: string, upstream: URL, trusted: readonly string[]): RealmVerdict {
  const url = URL.parse(realm);
  if (!url || realm.length > 2048) return refuse('its token realm is not a URL');
  if (url.protocol !== 'https:' && url.protocol !== 'http:')
    return refuse('its token realm is not an http URL');
  if (url.username !== '' || url.password !== '') return refuse('its token realm carries credentials');
  url.hash = '';
  if (isTrusted(url, trusted)) return { kind: 'allowed', url };
  const bothHere = isLoopbackHost(url) && isLoopbackHost(upstream);
  if (url.protocol === 'http:') {
    const kin = upstream.protocol === 'http:' && (url.host === upstream.host || bothHere);
    return kin ? { kind: 'allowed', url } : refuse(`its token realm ${url.origin} is not https`);
  }
  if (url.hostname === upstream.hostname || bothHere) return { kind: 'allowed', url };
  if (isPrivateHost(url)) return refuse(`its token realm ${url.origin} is a private address`);
  if (sameSite(url, upstream)) return { kind: 'allowed', url };
  return refuse(
    `its token realm ${url.origin} belongs to another domain; add it to trustedRealms if that is intended`,
  );
}

function isTrusted(url: URL, trusted: readonly string[]): boolean {
  return trusted.some((entry) => trustedOrigin(entry) === url.origin);
}

/**
 * Registrable domains under which a cloud's customers have hosts of their own, although the Public Suffix List does
 * not say so for all of them: what a host there has in common with another is no reason to trust it.
 */
const shared: ReadonlySet<string> = new Set([
  'aliyuncs.com',
  'amazonaws.com',
  'amazonaws.com.cn',
  'azurecr.cn',
  'azurecr.io',
  'azurecr.us',
  'cloudapp.net',
  'jfrog.io',
  'myhuaweicloud.com',
  'ocir.io',
  'oraclecloud.com',
  'tencentcloudcr.com',
  'tencentyun.com',
  'volces.com',
]);

const aliyunRegistry =
  /^(?:[a-z0-9-]+-)?(?:registry|registry-vpc)\.((?:cn|ap|us|eu|me|na)-[a-z0-9-]+)(?:\.cr)?\.aliyuncs\.com$/;
const aliyunTokens = /^dockerauth(?:-ee)?(?:-vpc)?\.((?:cn|ap|us|eu|me|na)-[a-z0-9-]+)\.aliyuncs\.com$/;

/** Same registrable domain, where domains under which anyone can register a name (`github.io`) are suffixes. */
function sameSite(url: URL, upstream: URL): boolean {
  if (isAddress(url) || isAddress(upstream)) return false;
  if (shared.has(getDomain(url.hostname) ?? '')) {
    const region = aliyunRegistry.exec(upstream.hostname)?.[1];
    return region !== undefined && region === aliyunTokens.exec(url.hostname)?.[1];
  }
  const domain = getDomain(url.hostname, { allowPrivateDomains: true });
  return domain !== null && domain === getDomain(upstream.hostname, { allowPrivateDomains: true });
}

function refuse(reason: string): RealmVerdict {
  return { kind: 'refused', reason };
}
