// biome-ignore-all lint/suspicious/noTemplateCurlyInString: these strings are the syntax this file reads.
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { type ConfigPath, errorCode, type Finding } from './problems.ts';

/** The process's environment, or a stand-in. */
export type Environment = Readonly<Record<string, string | undefined>>;

/** Where values come from; `folder` is what relative file paths are relative to. */
type SubstitutionSources = { readonly env: Environment; readonly folder: string };

/** A tree of the same shape with its strings filled in. A string with a problem is left as it was written. */
type Substituted = { readonly value: unknown; readonly findings: readonly Finding[] };

const placeholder = /\$\$\{|\$\{([^}]*)\}|\$\{/g;
const variable = /^([A-Za-z_][A-Za-z0-9_]*)(?::-(.*))?$/s;

/**
 * Fills in the strings of a parsed document: `${NAME}` and `${NAME:-default}` (used when the variable is unset or
 * empty) from the environment, `${file:PATH}` from a file less one trailing newline, `$${` for a literal `${`.
 * What was filled in is not looked at again, keys of maps are left alone, and no finding holds a filled-in value.
 */
export function substitute(input: unknown, sources: SubstitutionSources): Substituted {
  const findings: Finding[] = [];
  const value = fillTree(input, [], (text, path) => {
    const messages: string[] = [];
    const filled = fillText(text, sources, messages);
    findings.push(...messages.map((message) => ({ path, message })));
    return messages.length === 0 ? filled : text;
  });
  return { value, findings };
}

function fillTree(
  node: unknown,
  path: ConfigPath,
  fill: (text: string, path: ConfigPath) => string,
): unknown {
  if (typeof node === 'string') return fill(node, path);
  if (Array.isArray(node)) return node.map((item, index) => fillTree(item, [...path, index], fill));
  if (typeof node !== 'object' || node === null) return node;
  return Object.fromEntries(
    Object.entries(node).map(([key, child]) => [key, fillTree(child, [...path, key], fill)]),
  );
}

function fillText(text: string, sources: SubstitutionSources, messages: string[]): string {
  return text.replaceAll(placeholder, (whole: string, inner: string | undefined) => {
    if (whole === '$${') return '${';
    if (inner === undefined) messages.push('"${" is not closed by "}": write $${ for a literal ${');
    else if (inner.startsWith('file:'))
      return fromFile(inner.slice('file:'.length), sources.folder, messages);
    else return fromEnvironment(inner, sources.env, messages);
    return whole;
  });
}

function fromEnvironment(inner: string, env: Environment, messages: string[]): string {
  const match = variable.exec(inner);
  if (!match) {
    messages.push('"${...}" must be ${NAME}, ${NAME:-default} or ${file:PATH}: write $${ for a literal ${');
    return '';
  }
  const [, name = '', fallback] = match;
  const value = Object.hasOwn(env, name) ? env[name] : undefined;
  if (fallback !== undefined) return value === undefined || value === '' ? fallback : value;
  if (value === undefined) messages.push(`environment variable ${name} is not set`);
  return value ?? '';
}

function fromFile(path: string, folder: string, messages: string[]): string {
  const absolute = resolve(folder, path);
  try {
    return readFileSync(absolute, 'utf8').replace(/\r?\n$/, '');
  } catch (error) {
    messages.push(`cannot read the file ${absolute} (${errorCode(error)})`);
    return '';
  }
}
