import { isIP } from 'node:net';
import type { EgressRule } from '../egress/egress.ts';
import { bareHost } from '../egress/hosts.ts';
import { serializeGet } from './head.ts';
import type { WireRequest } from './messages.ts';

/** A host and port to connect to, with TLS to it or not; `host` without the brackets of an IPv6 address. */
export type Endpoint = { readonly host: string; readonly port: number; readonly tls: boolean };

/** Everything that a connection needs to know, worked out from a request. */
export type WireTarget = {
  readonly endpoint: Endpoint;
  readonly proxy: { readonly endpoint: Endpoint; readonly authorization: string | undefined } | undefined;
  readonly egress: EgressRule;
  readonly ca: string | undefined;
  /** The bytes of the request. */
  readonly request: string;
  /** Requests with equal keys may share a connection. */
  readonly key: string;
};

/** Works out where a request goes and what is sent; throws a `TypeError` when it cannot be sent. */
export function parseTarget(request: WireRequest): WireTarget {
  const url = new URL(request.url);
  if (url.username !== '' || url.password !== '')
    throw new TypeError('credentials do not belong in a request URL');
  const endpoint = endpointOf(url);
  const proxy = request.proxy && parseProxy(request.proxy.url);
  const path = `${url.pathname}${url.search}`;
  const forwarded = proxy && !endpoint.tls;
  const text = serializeGet(forwarded ? `${url.origin}${path}` : path, url.host, request.headers);
  return {
    endpoint,
    proxy,
    egress: request.egress,
    ca: request.ca,
    request: forwarded ? withProxyAuthorization(text, proxy.authorization) : text,
    key: JSON.stringify([url.origin, request.egress, request.ca, request.proxy?.url]),
  };
}

/**
 * How many milliseconds one of a host's addresses gets before the next is tried. Node's own 250 are less than a
 * round trip to a distant registry takes on a poor line, so that every address would be given up.
 */
export const addressTimeout = 1000;

/** The name to ask for in the TLS handshake: none for an address (RFC 6066, section 3). */
export function serverName(host: string): string {
  return isIP(host) === 0 ? host : '';
}

/** The request that opens a tunnel through a proxy (RFC 9110, section 9.3.6). */
export function serializeConnect(endpoint: Endpoint, authorization: string | undefined): string {
  const host = endpoint.host.includes(':') ? `[${endpoint.host}]` : endpoint.host;
  const head = `CONNECT ${host}:${endpoint.port} HTTP/1.1\r\nHost: ${host}:${endpoint.port}\r\n\r\n`;
  return withProxyAuthorization(head, authorization);
}

function withProxyAuthorization(head: string, authorization: string | undefined): string {
  return authorization === undefined
    ? head
    : `${head.slice(0, -2)}Proxy-Authorization: ${authorization}\r\n\r\n`;
}

function parseProxy(text: string): { endpoint: Endpoint; authorization: string | undefined } {
  const url = new URL(text);
  return { endpoint: endpointOf(url), authorization: proxyAuthorization(url) };
}

/** The `Proxy-Authorization` value for the credentials in a proxy's URL, if it has any. */
export function proxyAuthorization(proxy: URL): string | undefined {
  if (proxy.username === '' && proxy.password === '') return undefined;
  const pair = `${decodeURIComponent(proxy.username)}:${decodeURIComponent(proxy.password)}`;
  return `Basic ${Buffer.from(pair).toString('base64')}`;
}

/** Where requests to a URL are connected to; throws a `TypeError` for another scheme than http and https. */
export function endpointOf(url: URL): Endpoint {
  if (url.protocol !== 'http:' && url.protocol !== 'https:')
    throw new TypeError('only http and https can be fetched');
  const tls = url.protocol === 'https:';
  return { host: bareHost(url.hostname), port: url.port === '' ? (tls ? 443 : 80) : Number(url.port), tls };
}
