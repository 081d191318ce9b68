import type { LogLevel } from '../lib/log.ts';
import type { LockedImages } from './lockfile.ts';

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
  /** Absolute path of a Docker `config.json`; never beside `username` or `credentialHelper`. */
  readonly dockerConfig?: string;
  /** NAME of a program `docker-credential-NAME`; never beside `username` or `dockerConfig`. */
  readonly credentialHelper?: string;
  /** Token realms elsewhere that may be sent the login: `host[:port]`, or an origin. */
  readonly trustedRealms: readonly string[];
  /** PEM text of the certificate authorities to trust for this upstream, besides the public ones. */
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

/** What a pull may name; the first rule of which every selector matches decides. */
export type PolicyRuleConfig = {
  /** Globs over `registry/repository`. */
  readonly images: readonly string[];
  /** Globs, or valid regular expressions between slashes. Absent: any reference. */
  readonly tags?: readonly string[];
  /** An npm version range. */
  readonly semver?: string;
  /** Well-formed sha256 or sha512 digests. */
  readonly digests?: readonly string[];
  readonly action: 'allow' | 'deny';
  readonly reason?: string;
  /** Whether tags stay at the digest first seen; never on a denial. Absent: no. */
  readonly pin?: boolean;
  /** Milliseconds for which a new digest must have been known; never on a denial. Absent: 0. */
  readonly minAge?: number;
};

/** An image that is kept up to date on a schedule; at least one of `tags`, `semver` and `newest` is given. */
export type SyncConfig = {
  /** `registry/repository`, of a configured registry. */
  readonly image: string;
  /** Globs, or valid regular expressions between slashes. */
  readonly tags?: readonly string[];
  /** An npm version range. */
  readonly semver?: string;
  /** How many of the highest versions. */
  readonly newest?: number;
  /** `os/architecture[/variant]`. Absent: all. */
  readonly platforms?: readonly string[];
  /** Five cron fields, or a nickname. Absent: on demand only. */
  readonly schedule?: string;
  /** Milliseconds by which a run may start later than scheduled. */
  readonly jitter: number;
  /** Bytes per second of a run. Absent: unlimited. */
  readonly maxBandwidth?: number;
  /** Upstream requests of a run. Absent: unlimited. */
  readonly requests?: number;
};

/** What may be pulled. */
export type PolicyConfig = {
  readonly default: 'allow' | 'deny';
  readonly rules: readonly PolicyRuleConfig[];
  /** How what is asked for by digest is judged. */
  readonly digests: 'provenance' | 'allow' | 'deny';
  /** Whether mirror clients are sent a manifest that stops them, rather than a denial that they pass by. */
  readonly failClosed: boolean;
  /** `path` is absolute; `images` is what the file held when the configuration was loaded. */
  readonly lockfile?: { readonly path: string; readonly images: LockedImages };
};

/** What a grant may permit. */
type ActionConfig = 'pull' | 'push' | 'delete' | 'admin';

/** Some actions on some images; neither list is empty. */
type GrantConfig = {
  /** Globs over `registry/repository`. */
  readonly images: readonly string[];
  readonly actions: readonly ActionConfig[];
};

/** A user named in the file. */
export type UserConfig = {
  /** A bcrypt hash. Absent: the user is one of the file `htpasswd`, which is then configured. */
  readonly passwordHash?: string;
  /** At least one. */
  readonly grants: readonly GrantConfig[];
};

/** Who may do what. */
export type AccessConfig = {
  /** Empty: nobody may do anything without a login. */
  readonly anonymous: readonly GrantConfig[];
  /** By name; has no prototype, so that a look-up of any client-sent name is safe. */
  readonly users: Readonly<Record<string, UserConfig>>;
  /** Absolute path of a file of further users. */
  readonly htpasswd?: string;
  /** For users of that file whom `users` does not name. */
  readonly htpasswdGrants: readonly GrantConfig[];
  /** `Host` header values (lower case) for which `/v2/` asks for a login. */
  readonly loginHosts: readonly string[];
  /** Whole http(s) URL at which clients are told to ask for tokens. Absent: `/token` of the host they asked. */
  readonly realm?: string;
  /** Whether a client's own upstream login may open what the grants do not. */
  readonly passthrough: boolean;
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
  /** Whether no upstream is ever asked. */
  readonly offline: boolean;
  /** `path` is absolute. */
  readonly storage: { readonly path: string };
  /** The registry of a name without one; a key of `registries`. */
  readonly defaultRegistry: string;
  /** By registry host; has no prototype, so that a look-up of any client-sent name is safe. */
  readonly registries: Readonly<Record<string, RegistryConfig>>;
  /** Whether a pulled manifest starts the downloads of its layers. */
  readonly prefetch: boolean;
  readonly sync: readonly SyncConfig[];
  readonly policy: PolicyConfig;
  readonly access: AccessConfig;
  /** Absolute paths of a PEM certificate and its key, which matched when loaded. Absent: plain http is served. */
  readonly tls?: { readonly certFile: string; readonly keyFile: string };
  readonly limits: LimitsConfig;
  readonly server: {
    readonly writeStallTimeout: number;
    readonly drainDelay: number;
    readonly drainTimeout: number;
  };
  readonly log: { readonly level: LogLevel; readonly format: 'json' | 'text' };
  readonly outboundProxy: OutboundProxyConfig;
};
