import * as z from 'zod';
import type { ConfigPath } from '../problems.ts';
import { introduction, values } from '../reference-text.ts';
import { configSchema } from './root-schema.ts';

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
    anyOf,
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
    ...(anyOf && { anyOf: anyOf.filter(isSchema).map(adapted) }),
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
  return isSchema(next) ? mapForm(next) : undefined;
}

/** Of a value that may be a map or something simpler, the map. */
function mapForm(schema: JsonSchema): JsonSchema {
  const form = schema.anyOf?.find((option) => typeof option === 'object' && option.properties !== undefined);
  return typeof form === 'object' ? form : schema;
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
  if (typeof schema.additionalProperties === 'object') {
    const { propertyNames } = schema;
    const name = (typeof propertyNames === 'object' && propertyNames.title) || 'name';
    return rows(schema.additionalProperties, `${key}.<${name}>.`);
  }
  return isSchema(schema.items) ? rows(mapForm(schema.items), `${key}[].`) : rows(schema, `${key}.`);
}

function tableRow({ key, schema, required }: Row): string {
  const cells = [`\`${key}\``, typeName(schema), defaultText(schema, required), schema.description ?? ''];
  return `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
}

function typeName(schema: JsonSchema): string {
  if (schema.title !== undefined) return schema.title;
  const choices = schema.anyOf?.flatMap((option) => (typeof option === 'object' ? (option.enum ?? []) : []));
  if (choices && choices.length > 0) return choices.map((choice) => `\`${choice}\``).join(', ');
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
