import * as z from 'zod';
import { formatDuration } from '../lib/units.ts';
import type { ConfigPath } from './problems.ts';
import { configSchema } from './schema.ts';

type JsonSchema = z.core.JSONSchema.BaseSchema;
type Row = { readonly key: string; readonly schema: JsonSchema; readonly required: boolean };

/** Strings that hold `${...}` are filled in before they are checked, so an editor must let them pass. */
const placeholderPattern = '\\$\\{';

/** The JSON Schema of the configuration file, for editors: the text of `docs/config.schema.json`. */
export function jsonSchemaText(): string {
  return `${JSON.stringify(configJsonSchema(), null, 2)}\n`;
}

/** The keys that may stand in the map at `path`; empty when no map belongs there. */
export function knownKeys(path: ConfigPath): string[] {
  let schema: JsonSchema | undefined = configJsonSchema();
  for (const part of path) schema = schema && child(schema, part);
  return Object.keys(schema?.properties ?? {});
}

/** The reference of every key: the text of `docs/CONFIGURATION.md`. */
export function configurationMarkdown(): string {
  const schema = configJsonSchema();
  const table = rows(schema, '').map(tableRow);
  return `${[introduction, '## Keys', '', '| key | type | default | meaning |', '|---|---|---|---|', ...table, '', values].join('\n')}\n`;
}

function configJsonSchema(): JsonSchema {
  const { $schema, ...schema } = z.toJSONSchema(configSchema, { io: 'input' });
  return { ...($schema !== undefined && { $schema }), title: 'entrepot configuration', ...adapted(schema) };
}

/** The schema as an editor needs it: placeholders pass, and a map whose keys all have defaults shows no `{}`. */
function adapted(schema: JsonSchema): JsonSchema {
  const {
    enum: choices,
    pattern,
    default: preset,
    type,
    properties,
    items,
    additionalProperties,
    ...rest
  } = schema;
  const placeholder: JsonSchema = { type: 'string', pattern: placeholderPattern };
  return {
    ...rest,
    ...(choices ? { anyOf: [{ enum: choices }, placeholder] } : type !== undefined && { type }),
    ...(preset !== undefined && !isEmptyMap(preset) && { default: preset }),
    ...(pattern !== undefined && { pattern: `${pattern}|${placeholderPattern}` }),
    ...(properties && { properties: mapValues(properties, adaptedOrFlag) }),
    ...(isSchema(items) && { items: adapted(items) }),
    ...(additionalProperties !== undefined && { additionalProperties: adaptedOrFlag(additionalProperties) }),
  };
}

function adaptedOrFlag(schema: JsonSchema | boolean): JsonSchema | boolean {
  return typeof schema === 'boolean' ? schema : adapted(schema);
}

function mapValues<T>(map: Readonly<Record<string, T>>, change: (value: T) => T): Record<string, T> {
  return Object.fromEntries(Object.entries(map).map(([key, value]) => [key, change(value)]));
}

function isSchema(value: unknown): value is JsonSchema {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function child(schema: JsonSchema, part: string | number): JsonSchema | undefined {
  const next =
    typeof part === 'number' ? schema.items : (schema.properties?.[part] ?? schema.additionalProperties);
  return isSchema(next) ? next : undefined;
}

function rows(schema: JsonSchema, prefix: string): Row[] {
  const required = new Set(schema.required ?? []);
  return Object.entries(schema.properties ?? {}).flatMap(([name, property]) => {
    if (typeof property !== 'object') return [];
    const key = `${prefix}${name}`;
    return [{ key, schema: property, required: required.has(name) }, ...innerRows(property, key)];
  });
}

function innerRows(schema: JsonSchema, key: string): Row[] {
  if (typeof schema.additionalProperties === 'object')
    return rows(schema.additionalProperties, `${key}.<host>.`);
  return isSchema(schema.items) ? rows(schema.items, `${key}[].`) : rows(schema, `${key}.`);
}

function tableRow({ key, schema, required }: Row): string {
  const cells = [`\`${key}\``, typeName(schema), defaultText(schema, required), schema.description ?? ''];
  return `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
}

function typeName(schema: JsonSchema): string {
  const choices = schema.anyOf?.flatMap((option) => (typeof option === 'object' ? (option.enum ?? []) : []));
  if (choices && choices.length > 0) return choices.map((choice) => `\`${choice}\``).join(', ');
  if (schema.title !== undefined) return schema.title;
  if (schema.type === 'array') return 'list';
  return schema.type === 'object' ? 'map' : String(schema.type);
}

function defaultText(schema: JsonSchema, required: boolean): string {
  if (required) return 'required';
  if (schema.default === undefined) return '';
  if (isSchema(schema.default)) {
    return Object.keys(schema.default)
      .map((key) => `\`${key}\``)
      .join(', ');
  }
  return `\`${typeof schema.default === 'string' ? schema.default : JSON.stringify(schema.default)}\``;
}

function isEmptyMap(value: unknown): boolean {
  return isSchema(value) && Object.keys(value).length === 0;
}

const introduction = `# Configuration

Generated from the schema by \`npm run docs\`: do not edit.

entrepot reads one YAML file: the one \`--config\` names, else the one \`ENTREPOT_CONFIG\` names, else \`config.yaml\` in
the working folder. Without any of them, the defaults below hold. The shipped \`config.yaml\` holds every key with
its default. An unknown key, a key given twice or a wrong value stops the start, and every problem is reported at once
with its line.
`;

const values = `## Values

- **duration**: whole numbers with a unit, the largest first: \`250ms\`, \`30s\`, \`5m\`, \`${formatDuration(5_400_000)}\`, \`30d\`. Timeouts are
  longer than \`0s\` (but for \`server.drainTimeout\`) and at most \`24d\`.
- **size**: \`4MiB\`, \`200GiB\` (powers of 1024) or \`10GB\` (powers of 1000).
- **speed**: a size, meant per second: \`20MiB\` is 20 MiB a second.
- **path**: relative to the folder of the configuration file; without a file, to the working folder.
- **host**: lower case, with an optional port.

Text values may hold, also within other text:

| written | becomes |
|---|---|
| \`\${NAME}\` | the environment variable; an error when it is not set |
| \`\${NAME:-default}\` | the environment variable, or \`default\` when it is unset or empty |
| \`\${file:/path}\` | the content of the file, less one newline at its end |
| \`$\${\` | \`\${\` |

What is filled in is text and is not looked at again: \`true\`, \`false\` and bare numbers cannot be filled in.
Messages never show configured values.

## Outbound proxy

Upstreams are reached through the proxies of the environment: \`HTTPS_PROXY\` for https upstreams, \`HTTP_PROXY\` for http ones,
except for the hosts of \`NO_PROXY\`. Lower case spellings work too; upper case wins.`;
