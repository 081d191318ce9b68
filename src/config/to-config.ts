import { resolve } from 'node:path';
import type {
  AccessConfig,
  Config,
  LimitsConfig,
  OutboundProxyConfig,
  PolicyConfig,
  PolicyRuleConfig,
  RegistryConfig,
  SyncConfig,
  UpstreamConfig,
  UserConfig,
} from './config.ts';
import type { NamedFiles } from './named-files.ts';
import { pathText } from './problems.ts';
import type { ParsedConfig } from './schema/root-schema.ts';

/** A checked document and what else a configuration is made of; `folder` is where relative paths begin. */
type Settings = {
  readonly parsed: ParsedConfig;
  readonly files: NamedFiles;
  readonly folder: string;
  readonly outboundProxy: OutboundProxyConfig;
};

/** Makes the configuration: paths absolute, files' contents in place, absent keys absent, look-ups safe. */
export function toConfig({ parsed, files, folder, outboundProxy }: Settings): Config {
  const { tls, ...rest } = parsed;
  return {
    ...rest,
    storage: { path: resolve(folder, parsed.storage.path) },
    registries: toRegistries(parsed.registries, files, folder),
    limits: toLimits(parsed.limits),
    sync: parsed.sync.map((entry): SyncConfig => defined(entry)),
    policy: toPolicy(parsed.policy, files, folder),
    access: toAccess(parsed.access, folder),
    ...(tls && { tls: { certFile: resolve(folder, tls.cert), keyFile: resolve(folder, tls.key) } }),
    outboundProxy,
  };
}

function toRegistries(
  parsed: ParsedConfig['registries'],
  files: NamedFiles,
  folder: string,
): Record<string, RegistryConfig> {
  const registries: Record<string, RegistryConfig> = Object.create(null);
  for (const [name, registry] of Object.entries(parsed)) {
    const upstreams = registry.upstreams.map((upstream, index) => {
      return toUpstream(upstream, files.pem.get(pathText(['registries', name, 'upstreams', index])), folder);
    });
    registries[name] = { ...registry, upstreams };
  }
  return registries;
}

type ParsedUpstream = ParsedConfig['registries'][string]['upstreams'][number];

function toUpstream(upstream: ParsedUpstream, pem: string | undefined, folder: string): UpstreamConfig {
  const { ca: _path, dockerConfig, ...rest } = upstream;
  return {
    ...defined(rest),
    ...(dockerConfig !== undefined && { dockerConfig: resolve(folder, dockerConfig) }),
    ...(pem !== undefined && { ca: pem }),
  };
}

function toLimits(limits: ParsedConfig['limits']): LimitsConfig {
  return defined(limits);
}

function toPolicy(policy: ParsedConfig['policy'], files: NamedFiles, folder: string): PolicyConfig {
  const { lockfile, rules, ...rest } = policy;
  const images = files.locked ?? Object.create(null);
  return {
    ...rest,
    rules: rules.map((rule): PolicyRuleConfig => defined(rule)),
    ...(lockfile !== undefined && { lockfile: { path: resolve(folder, lockfile), images } }),
  };
}

function toAccess(access: ParsedConfig['access'], folder: string): AccessConfig {
  const { users: parsed, htpasswd, ...rest } = access;
  const users: Record<string, UserConfig> = Object.create(null);
  for (const [name, user] of Object.entries(parsed)) users[name] = defined(user);
  return {
    ...defined(rest),
    users,
    ...(htpasswd !== undefined && { htpasswd: resolve(folder, htpasswd) }),
  };
}

/** `T` with its optional keys either absent or of their type. */
type Defined<T> = { [K in keyof T]: Exclude<T[K], undefined> };

/** A copy without the keys that hold `undefined`. */
function defined<T extends object>(value: T): Defined<T> {
  return Object.fromEntries(Object.entries(value).filter(([, child]) => child !== undefined)) as Defined<T>;
}
