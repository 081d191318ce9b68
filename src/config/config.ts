import type { LogLevel } from '../lib/log.ts';

/** One endpoint that serves a registry's content: the registry itself or a mirror of it. */
export type UpstreamConfig = {
  /**
   * `http(s)://host[:port][/prefix]`, without a trailing slash. A path is a repository prefix: with
   * `https://harbor.corp/dockerhub` the repository `library/alpine` is asked for as `dockerhub/library/alpine`.
   */
  readonly url: string;
  /** Whether tags may be asked of it; content by digest always may. */
  readonly tags: boolean;
  /** Present exactly when `password` is; holds no colon (RFC 7617). */
  readonly username?: string;
  readonly password?: string;
  /** PEM text of the certificate authorities to trust for this upstream. */
  readonly ca?: string;
  /** True exactly when `url` is plain `http://`. */
  readonly insecure: boolean;
  /** Milliseconds until a connection is open. */
  readonly connectTimeout: number;
  /** Milliseconds from the request to the response headers. */
  readonly headersTimeout: number;
  /** Milliseconds without a byte of a response body. */
  readonly stallTimeout: number;
  /** Bytes per second; a body slower than this for some seconds is given up. 0: none is. */
  readonly minSpeed: number;
  /** Connections that one blob may use on this upstream at once; 1 to 32. */
  readonly maxConnections: number;
  /** Bytes per second, all downloads from this upstream together; absent: unlimited. */
  readonly maxBandwidth?: number;
};

/** A source registry and how it is asked. */
export type RegistryConfig = {
  /** At least one, in the order in which tags are asked; at least one has `tags`. */
  readonly upstreams: readonly UpstreamConfig[];
  /** `Host` header values (lower case) that mean this registry; each belongs to one registry. */
  readonly hosts: readonly string[];
  /** Milliseconds for which a tag is served without asking again. */
  readonly tagTtl: number;
  /** Milliseconds for which "not found" is remembered. */
  readonly negativeTtl: number;
};

/** What a pull may name; the first rule that matches decides. */
export type PolicyRuleConfig = {
  readonly images: readonly string[];
  /** Absent: any reference. */
  readonly tags?: readonly string[];
  readonly action: 'allow' | 'deny';
  readonly reason?: string;
};

/** Bounds on what is taken from upstreams. */
export type LimitsConfig = {
  /** Bytes. */
  readonly manifestSize: number;
  /** Downloads from upstreams at once, all registries together; 1 to 1024. */
  readonly connections: number;
  /** Bytes per second, all upstreams together; absent: unlimited. */
  readonly maxBandwidth?: number;
};

/** The proxies of the environment through which upstreams are reached. */
export type OutboundProxyConfig = {
  /** `http(s)://` URL for https upstreams; may hold credentials, so it is never logged. */
  readonly https?: string;
  /** `http(s)://` URL for http upstreams; may hold credentials, so it is never logged. */
  readonly http?: string;
  /** Hosts reached directly, lower case, as written in `NO_PROXY`. */
  readonly noProxy: readonly string[];
};

/**
 * The whole configuration, checked, with every default filled in; deeply frozen. Durations are ms, sizes bytes,
 * speeds bytes per second.
 */
export type Config = {
  /** `host` is without brackets; port 0 lets the system choose. */
  readonly listen: { readonly host: string; readonly port: number };
  /** `path` is absolute. */
  readonly storage: { readonly path: string };
  /** The registry of a name without one; a key of `registries`. */
  readonly defaultRegistry: string;
  /** By registry host; has no prototype, so that a look-up of any client-sent name is safe. */
  readonly registries: Readonly<Record<string, RegistryConfig>>;
  readonly policy: { readonly default: 'allow' | 'deny'; readonly rules: readonly PolicyRuleConfig[] };
  readonly limits: LimitsConfig;
  readonly server: { readonly writeStallTimeout: number; readonly drainTimeout: number };
  readonly log: { readonly level: LogLevel; readonly format: 'json' | 'text' };
  readonly outboundProxy: OutboundProxyConfig;
};
