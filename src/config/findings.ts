import type * as z from 'zod';
import type { ConfigPath, Finding } from './problems.ts';
import { knownKeys } from './schema/json-schema.ts';
import { configSchema, type ParsedConfig } from './schema/root-schema.ts';

/** What the schema makes of a document: `parsed` is absent when there are findings. */
type SchemaResult = { readonly parsed?: ParsedConfig; readonly findings: readonly Finding[] };

/** Runs the schema over a document; findings are in plain words, quote no value, and suggest near keys. */
export function applySchema(document: unknown): SchemaResult {
  const result = configSchema.safeParse(document, { error: plainMessage });
  if (result.success) return { parsed: result.data, findings: [] };
  return { findings: result.error.issues.flatMap(issueFindings) };
}

/** The known key that `key` was probably meant to be; `undefined` when none is near. */
function nearestKey(key: string, known: readonly string[]): string | undefined {
  const wanted = key.toLowerCase();
  const ranked = known
    .map((candidate) => ({ candidate, distance: editDistance(wanted, candidate.toLowerCase()) }))
    .sort((a, b) => a.distance - b.distance);
  const [best] = ranked;
  return best && best.distance <= Math.max(1, Math.floor(wanted.length * 0.4)) ? best.candidate : undefined;
}

function issueFindings(issue: z.core.$ZodIssue): Finding[] {
  const path = issue.path.filter((part) => typeof part !== 'symbol');
  if (issue.code === 'invalid_union') {
    const meant = issue.errors.find(isAboutInside);
    if (meant)
      return meant.flatMap((inner) => issueFindings({ ...inner, path: [...issue.path, ...inner.path] }));
  }
  if (issue.code !== 'unrecognized_keys') return [{ path, message: issue.message }];
  return issue.keys.map((key) => ({ path: [...path, key], message: unknownKeyMessage(key, path) }));
}

/** Whether a form that a value may have was the one meant: what is wrong is within it. */
function isAboutInside(issues: readonly z.core.$ZodIssue[]): boolean {
  return (
    issues.length > 0 && issues.every((issue) => issue.path.length > 0 || issue.code === 'unrecognized_keys')
  );
}

function unknownKeyMessage(key: string, parent: ConfigPath): string {
  if (key === 'password' && parent[0] === 'access') {
    return 'a plain-text password is not accepted: give the passwordHash that "entrepot hash-password" prints';
  }
  const known = knownKeys(parent);
  const nearest = nearestKey(key, known);
  return nearest === undefined
    ? `unknown key, known here: ${known.join(', ')}`
    : `unknown key, did you mean "${nearest}"?`;
}

function plainMessage(issue: z.core.$ZodRawIssue): string | undefined {
  if (issue.input === undefined) return 'is required';
  if (issue.input === null) return 'is empty: give it a value or remove the key';
  if (issue.code === 'invalid_type') return wantedTypes[issue.expected] ?? `must be ${issue.expected}`;
  if (issue.code === 'invalid_value') return `must be one of ${issue.values.map(String).join(', ')}`;
  return undefined;
}

const wantedTypes: Readonly<Record<string, string>> = {
  boolean: 'must be true or false, without quotes',
  object: 'must be a map of keys to values',
  record: 'must be a map of keys to values',
  array: 'must be a list',
};

/** Levenshtein's distance, row by row. */
function editDistance(from: string, to: string): number {
  let row = Array.from({ length: to.length + 1 }, (_, index) => index);
  for (const [i, letter] of [...from].entries()) {
    const next = [i + 1];
    for (const [j, other] of [...to].entries()) {
      const replaced = (row[j] ?? 0) + (letter === other ? 0 : 1);
      next.push(Math.min(replaced, (row[j + 1] ?? 0) + 1, (next[j] ?? 0) + 1));
    }
    row = next;
  }
  return row[to.length] ?? 0;
}
