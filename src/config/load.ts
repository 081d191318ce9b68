import { existsSync } from 'node:fs';
import { dirname, isAbsolute, relative, resolve } from 'node:path';
import { readCertificates } from './certificates.ts';
import { crossFieldFindings } from './checks.ts';
import type {
  Config,
  LimitsConfig,
  OutboundProxyConfig,
  PolicyRuleConfig,
  RegistryConfig,
  UpstreamConfig,
} from './config.ts';
import { type ConfigDocument, emptyDocument, readDocument } from './document.ts';
import { applySchema } from './findings.ts';
import { readOutboundProxy } from './outbound-proxy.ts';
import { ConfigError, type ConfigProblem, type Finding, pathText } from './problems.ts';
import type { ParsedConfig } from './schema.ts';
import { type Environment, substitute } from './substitute.ts';

/**
 * The configuration file to use, as an absolute path: `flag` (of `--config`), else `ENTREPOT_CONFIG`, else
 * `config.yaml` in `cwd` when present. `undefined`: none, the defaults hold. A file asked for need not exist:
 * `loadConfig` reports that.
 */
export function resolveConfigFile(options: {
  flag?: string | undefined;
  env: Environment;
  cwd: string;
}): string | undefined {
  const asked = options.flag || options.env['ENTREPOT_CONFIG'];
  if (asked) return resolve(options.cwd, asked);
  const usual = resolve(options.cwd, 'config.yaml');
  return existsSync(usual) ? usual : undefined;
}

/**
 * Loads the configuration: YAML, then `${...}`, then the schema, then checks across keys. Without `file` every key
 * has its default. The result is deeply frozen.
 * @throws ConfigError naming every problem of the file and of the proxy variables at once.
 */
export function loadConfig(options: { file?: string | undefined; env: Environment; cwd: string }): Config {
  const file = options.file === undefined ? undefined : resolve(options.cwd, options.file);
  const folder = file === undefined ? options.cwd : dirname(file);
  const document = file === undefined ? emptyDocument : readDocument(file);
  const outbound = readOutboundProxy(options.env);
  const content = checkContent(document, options.env, folder);
  const problems = [...document.problems, ...content.problems, ...outbound.problems];
  if (!content.settings || problems.length > 0) throw new ConfigError(shownName(file, options.cwd), problems);
  return deepFreeze(toConfig(content.settings, folder, outbound.proxy));
}

type Settings = { readonly parsed: ParsedConfig; readonly pem: ReadonlyMap<string, string> };
type Content = { readonly settings?: Settings; readonly problems: readonly ConfigProblem[] };

function checkContent(document: ConfigDocument, env: Environment, folder: string): Content {
  if (document.value === undefined) return { problems: [] };
  const filled = substitute(document.value, { env, folder });
  const schema = applySchema(filled.value);
  const certificates = readCertificates(filled.value, folder);
  const unfilled = new Set(filled.findings.map((finding) => pathText(finding.path)));
  const later = [...schema.findings, ...crossFieldFindings(filled.value), ...certificates.findings];
  // A string that could not be filled in is still its `${...}`: what else is wrong with it says nothing.
  const findings = [...filled.findings, ...later.filter((finding) => !unfilled.has(pathText(finding.path)))];
  const problems = findings.map((finding) => locate(finding, document));
  problems.sort((a, b) => (a.line ?? 0) - (b.line ?? 0));
  return schema.parsed && problems.length === 0
    ? { settings: { parsed: schema.parsed, pem: certificates.pem }, problems }
    : { problems };
}

function locate(finding: Finding, document: ConfigDocument): ConfigProblem {
  const line = document.lineOf(finding.shownAt ?? finding.path);
  const path = pathText(finding.path);
  return line === undefined ? { path, message: finding.message } : { path, line, message: finding.message };
}

function shownName(file: string | undefined, cwd: string): string {
  if (file === undefined) return 'configuration';
  const name = relative(cwd, file);
  return name.startsWith('..') || isAbsolute(name) ? file : name;
}

function toConfig({ parsed, pem }: Settings, folder: string, outboundProxy: OutboundProxyConfig): Config {
  const registries: Record<string, RegistryConfig> = Object.create(null);
  for (const [name, registry] of Object.entries(parsed.registries)) {
    registries[name] = {
      ...registry,
      upstreams: registry.upstreams.map((upstream, index) => {
        return toUpstream(upstream, pem.get(pathText(['registries', name, 'upstreams', index])));
      }),
    };
  }
  return {
    ...parsed,
    storage: { path: resolve(folder, parsed.storage.path) },
    registries,
    limits: toLimits(parsed.limits),
    policy: { default: parsed.policy.default, rules: parsed.policy.rules.map(toRule) },
    outboundProxy,
  };
}

type ParsedUpstream = ParsedConfig['registries'][string]['upstreams'][number];

function toUpstream(upstream: ParsedUpstream, pem: string | undefined): UpstreamConfig {
  const { username, password, ca: _path, maxBandwidth, ...rest } = upstream;
  return {
    ...rest,
    ...(username !== undefined && { username }),
    ...(password !== undefined && { password }),
    ...(pem !== undefined && { ca: pem }),
    ...(maxBandwidth !== undefined && { maxBandwidth }),
  };
}

function toLimits({ maxBandwidth, ...rest }: ParsedConfig['limits']): LimitsConfig {
  return { ...rest, ...(maxBandwidth !== undefined && { maxBandwidth }) };
}

function toRule({ tags, reason, ...rule }: ParsedConfig['policy']['rules'][number]): PolicyRuleConfig {
  return { ...rule, ...(tags !== undefined && { tags }), ...(reason !== undefined && { reason }) };
}

function deepFreeze<T>(value: T): T {
  if (typeof value !== 'object' || value === null || Object.isFrozen(value)) return value;
  for (const child of Object.values(value)) deepFreeze(child);
  return Object.freeze(value);
}
