import type { CredentialOptions } from './auth/credentials.ts';
import type { ProxyOptions } from './egress/proxy-choice.ts';

/** One upstream of a registry, and at most one source of credentials for it. Times in milliseconds. */
export type UpstreamOptions = CredentialOptions & {
  /** `https://host[:port][/base]`; a base path prefixes every repository. `http` needs `insecure`. */
  readonly url: string;
  /** Whether it may be asked what a tag means. */
  readonly tags: boolean;
  /** PEM certificates that are trusted besides the default roots, for the host and where it redirects to. */
  readonly ca?: string;
  /** Permits a plain `http` URL; it never weakens TLS. */
  readonly insecure: boolean;
  readonly connectTimeout: number;
  readonly headersTimeout: number;
  readonly stallTimeout: number;
  /** Connections that one blob may use on it at once; 1 unless given. */
  readonly maxConnections?: number;
  /** Bytes a second below which a connection counts as stalled; 0 unless given. */
  readonly minSpeed?: number;
  /** The memories of the bandwidth budgets that its connections for blobs keep together; none unless given. */
  readonly bandwidths?: readonly SharedArrayBuffer[];
  readonly proxy?: ProxyOptions;
  readonly userAgent: string;
  /**
   * Token realms elsewhere that are trusted with the credentials, at whatever address: `host[:port]`, or an origin
   * such as `http://auth.corp:5001`.
   */
  readonly trustedRealms?: readonly string[];
};

/**
 * Reads an upstream's URL. `base` is what it puts before every repository: empty, or path components with a slash
 * behind. Throws a `TypeError` for another scheme than https (or http with `insecure`), for credentials (they
 * have settings of their own), and for a query.
 */
export function parseUpstreamUrl(options: Pick<UpstreamOptions, 'url' | 'insecure'>): {
  url: URL;
  base: string;
} {
  const url = new URL(options.url);
  if (url.protocol !== 'https:' && url.protocol !== 'http:')
    throw new TypeError('an upstream URL is https or http');
  if (url.protocol === 'http:' && !options.insecure) {
    throw new TypeError(`the upstream ${url.host} is plain http: set insecure to use it`);
  }
  if (url.username !== '' || url.password !== '')
    throw new TypeError('credentials do not belong in an upstream URL');
  if (url.search !== '' || url.hash !== '') throw new TypeError('an upstream URL has no query');
  const path = url.pathname.replace(/^\/+|\/+$/g, '');
  return { url, base: path === '' ? '' : `${path}/` };
}
