import type { Config, RegistryConfig, SyncConfig, UpstreamConfig } from '../../src/config/config.ts';
import { isLoopbackHost } from './no-network.ts';

/** An upstream: something with a URL (such as a fake upstream), and what deviates from the defaults. */
export type UpstreamLike = { readonly url: string } & Partial<UpstreamConfig>;

/** A registry: one upstream, several in order, or the whole of it. */
export type RegistryLike =
  | UpstreamLike
  | readonly UpstreamLike[]
  | (Partial<Omit<RegistryConfig, 'upstreams'>> & { readonly upstreams: readonly UpstreamLike[] });

/** What a test's server deviates in; the defaults are those of a quick test, not those of the product. */
export type ConfigOptions = {
  readonly registries?: Readonly<Record<string, RegistryLike>>;
  readonly defaultRegistry?: string;
  readonly offline?: boolean;
  /** Off unless given: it downloads what the test did not ask for, and sooner. */
  readonly prefetch?: boolean;
  readonly sync?: readonly (Partial<SyncConfig> & { readonly image: string })[];
  readonly policy?: Partial<Config['policy']>;
  readonly access?: Partial<Config['access']>;
  readonly tls?: NonNullable<Config['tls']>;
  readonly limits?: Partial<Config['limits']>;
  readonly server?: Partial<Config['server']>;
};

/**
 * Builds a configuration that listens on a free loopback port.
 * @throws when an upstream is not on loopback: fills run in worker threads, which the network ban cannot see.
 */
export function makeConfig(storagePath: string, options: ConfigOptions = {}): Config {
  const named = Object.entries(options.registries ?? {});
  const registries = Object.fromEntries(named.map(([name, registry]) => [name, registryConfig(registry)]));
  return {
    listen: { host: '127.0.0.1', port: 0 },
    storage: { path: storagePath },
    defaultRegistry: options.defaultRegistry ?? named[0]?.[0] ?? 'docker.io',
    registries,
    offline: options.offline ?? false,
    prefetch: options.prefetch ?? false,
    sync: (options.sync ?? []).map((entry) => ({ jitter: 0, ...entry })),
    policy: { default: 'allow', rules: [], digests: 'provenance', failClosed: false, ...options.policy },
    access: {
      anonymous: [{ images: ['**'], actions: ['pull'] }],
      users: {},
      htpasswdGrants: [],
      loginHosts: [],
      passthrough: false,
      ...options.access,
    },
    ...(options.tls && { tls: options.tls }),
    limits: { manifestSize: 4 * 1024 * 1024, connections: 64, ...options.limits },
    server: { writeStallTimeout: 60_000, drainDelay: 0, drainTimeout: 5_000, ...options.server },
    log: { level: 'debug', format: 'json' },
    outboundProxy: { noProxy: [] },
  };
}

function registryConfig(registry: RegistryLike): RegistryConfig {
  const whole = 'upstreams' in registry ? registry : { upstreams: [registry].flat() };
  return {
    hosts: [],
    tagTtl: 300_000,
    negativeTtl: 10_000,
    ...whole,
    upstreams: whole.upstreams.map(upstreamConfig),
  };
}

function upstreamConfig(upstream: UpstreamLike): UpstreamConfig {
  const {
    url,
    tags = true,
    insecure = url.startsWith('http://'),
    username,
    password,
    dockerConfig,
    credentialHelper,
    ca,
    maxBandwidth,
  } = upstream;
  if (!isLoopbackHost(new URL(url).hostname))
    throw new Error(`tests may only name upstreams on loopback: ${url}`);
  return {
    url,
    tags,
    insecure,
    connectTimeout: upstream.connectTimeout ?? 1_000,
    headersTimeout: upstream.headersTimeout ?? 1_000,
    stallTimeout: upstream.stallTimeout ?? 1_000,
    minSpeed: upstream.minSpeed ?? 0,
    maxConnections: upstream.maxConnections ?? 4,
    trustedRealms: upstream.trustedRealms ?? [],
    ...(username !== undefined && { username }),
    ...(password !== undefined && { password }),
    ...(dockerConfig !== undefined && { dockerConfig }),
    ...(credentialHelper !== undefined && { credentialHelper }),
    ...(ca !== undefined && { ca }),
    ...(maxBandwidth !== undefined && { maxBandwidth }),
  };
}

/** The same configuration as the text of a configuration file (JSON is YAML). */
export function configFileText(config: Config): string {
  const registries = Object.entries(config.registries).map(([name, registry]) => {
    const upstreams = registry.upstreams.map((upstream) => ({
      ...upstream,
      connectTimeout: `${upstream.connectTimeout}ms`,
      headersTimeout: `${upstream.headersTimeout}ms`,
      stallTimeout: `${upstream.stallTimeout}ms`,
      minSpeed: upstream.minSpeed === 0 ? 'off' : `${upstream.minSpeed}B`,
      ...(upstream.maxBandwidth !== undefined && { maxBandwidth: `${upstream.maxBandwidth}B` }),
    }));
    const times = { tagTtl: `${registry.tagTtl}ms`, negativeTtl: `${registry.negativeTtl}ms` };
    return [name, { upstreams, hosts: registry.hosts, ...times }];
  });
  return JSON.stringify({
    listen: `${config.listen.host}:${config.listen.port}`,
    storage: config.storage,
    defaultRegistry: config.defaultRegistry,
    registries: Object.fromEntries(registries),
    offline: config.offline,
    prefetch: config.prefetch,
    sync: config.sync.map(({ jitter, maxBandwidth, ...entry }) => ({
      ...entry,
      jitter: `${jitter}ms`,
      ...(maxBandwidth !== undefined && { maxBandwidth: `${maxBandwidth}B` }),
    })),
    policy: policyText(config.policy),
    access: config.access,
    ...(config.tls && { tls: { cert: config.tls.certFile, key: config.tls.keyFile } }),
    limits: {
      manifestSize: `${config.limits.manifestSize}B`,
      connections: config.limits.connections,
      ...(config.limits.maxBandwidth !== undefined && { maxBandwidth: `${config.limits.maxBandwidth}B` }),
    },
    server: {
      writeStallTimeout: `${config.server.writeStallTimeout}ms`,
      drainDelay: `${config.server.drainDelay}ms`,
      drainTimeout: `${config.server.drainTimeout}ms`,
    },
    log: config.log,
  });
}

function policyText({ rules, lockfile, ...policy }: Config['policy']): Record<string, unknown> {
  return {
    ...policy,
    rules: rules.map((rule) => ({
      ...rule,
      ...(rule.minAge !== undefined && { minAge: `${rule.minAge}ms` }),
    })),
    ...(lockfile && { lockfile: lockfile.path }),
  };
}
