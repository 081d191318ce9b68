import { existsSync } from 'node:fs';
import { dirname, isAbsolute, relative, resolve } from 'node:path';
import { crossFieldFindings } from './checks/checks.ts';
import type { Config, PolicyRuleConfig } from './config.ts';
import { type ConfigDocument, emptyDocument, readDocument } from './document.ts';
import { applySchema } from './findings.ts';
import { type FileOptions, type NamedFiles, readNamedFiles } from './named-files.ts';
import { readOutboundProxy } from './outbound-proxy.ts';
import { ConfigError, type ConfigPath, type ConfigProblem, type Finding, pathText } from './problems.ts';
import type { ParsedConfig } from './schema/root-schema.ts';
import { type Environment, substitute } from './substitute.ts';
import { toConfig } from './to-config.ts';

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
 * What to load. `missingLockfile` lets `policy.lockfile` name a file that is yet to be written. `ruleFault` says what
 * else stands against a well-formed rule: its selectors are compiled elsewhere, where more may be refused.
 */
export type LoadOptions = {
  readonly file?: string | undefined;
  readonly env: Environment;
  readonly cwd: string;
  readonly missingLockfile?: 'empty' | undefined;
  readonly ruleFault?: RuleFault | undefined;
};

/** A message that completes "this rule ...", or `undefined` for a rule that can be used. */
type RuleFault = (rule: PolicyRuleConfig) => string | undefined;

/**
 * Loads the configuration: YAML, then `${...}`, then the schema, then checks across keys and of the files that it
 * names. Without `file` every key has its default. The result is deeply frozen.
 * @throws ConfigError naming every problem of the file and of the proxy variables at once.
 */
export function loadConfig(options: LoadOptions): Config {
  const { env, cwd, missingLockfile, ruleFault } = options;
  const file = options.file === undefined ? undefined : resolve(cwd, options.file);
  const folder = file === undefined ? cwd : dirname(file);
  const document = file === undefined ? emptyDocument : readDocument(file);
  const outbound = readOutboundProxy(env);
  const content = checkContent(document, env, { folder, missingLockfile });
  const problems = [...document.problems, ...content.problems, ...outbound.problems];
  if (!content.checked || problems.length > 0) throw new ConfigError(shownName(file, cwd), problems);
  const config = deepFreeze(toConfig({ ...content.checked, folder, outboundProxy: outbound.proxy }));
  const faults = patternsOf(config).flatMap(({ path, rule }) => {
    const message = ruleFault?.(rule);
    return message === undefined ? [] : [locate({ path, message }, document)];
  });
  if (faults.length > 0) throw new ConfigError(shownName(file, cwd), faults);
  return config;
}

/** All rules, and what else selects tags as rules do. */
function patternsOf({
  policy,
  sync,
}: Config): readonly { readonly path: ConfigPath; readonly rule: PolicyRuleConfig }[] {
  return [
    ...policy.rules.map((rule, index) => ({ path: ['policy', 'rules', index], rule })),
    ...sync.map(({ image, tags, semver }, index) => ({
      path: ['sync', index],
      rule: {
        images: [image],
        ...(tags && { tags }),
        ...(semver !== undefined && { semver }),
        action: 'allow' as const,
      },
    })),
  ];
}

type Checked = { readonly parsed: ParsedConfig; readonly files: NamedFiles };
type Content = { readonly checked?: Checked; readonly problems: readonly ConfigProblem[] };

function checkContent(document: ConfigDocument, env: Environment, options: FileOptions): Content {
  if (document.value === undefined) return { problems: [] };
  const filled = substitute(document.value, { env, folder: options.folder });
  const schema = applySchema(filled.value);
  const files = readNamedFiles(filled.value, options);
  const unfilled = new Set(filled.findings.map((finding) => pathText(finding.path)));
  const later = [...schema.findings, ...crossFieldFindings(filled.value), ...files.findings];
  // A string that could not be filled in is still its `${...}`: what else is wrong with it says nothing.
  const findings = [...filled.findings, ...later.filter((finding) => !unfilled.has(pathText(finding.path)))];
  const problems = findings.map((finding) => locate(finding, document));
  problems.sort((a, b) => (a.line ?? 0) - (b.line ?? 0));
  return schema.parsed && problems.length === 0
    ? { checked: { parsed: schema.parsed, files }, problems }
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

function deepFreeze<T>(value: T): T {
  if (typeof value !== 'object' || value === null || Object.isFrozen(value)) return value;
  for (const child of Object.values(value)) deepFreeze(child);
  return Object.freeze(value);
}
