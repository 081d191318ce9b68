import { readFileSync } from 'node:fs';
import {
  type Document,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  LineCounter,
  type Pair,
  parseDocument,
  visit,
  type YAMLError,
  type YAMLMap,
} from 'yaml';
import { type ConfigPath, type ConfigProblem, errorCode, pathText } from './problems.ts';

/** A configuration file as read. */
export type ConfigDocument = {
  /** Plain data, `{}` for an empty file; absent when the file or its syntax cannot be read. */
  readonly value?: unknown;
  readonly problems: readonly ConfigProblem[];
  /** The line (from 1) of the key or list entry at `path`, or of its nearest parent that the file holds. */
  readonly lineOf: (path: ConfigPath) => number | undefined;
};

/** What stands for the document when there is no file. */
export const emptyDocument: ConfigDocument = { value: {}, problems: [], lineOf: () => undefined };

/** Reads a YAML file. Nothing is thrown: what is wrong is in `problems`, and never quotes the file's values. */
export function readDocument(file: string): ConfigDocument {
  try {
    return parseDocumentText(readFileSync(file, 'utf8'));
  } catch (error) {
    const code = errorCode(error);
    const message = code === 'ENOENT' ? 'no such file' : `cannot read the file (${code})`;
    return { problems: [{ path: '', message }], lineOf: () => undefined };
  }
}

/** Parses YAML of plain data with text keys, as `readDocument` does a file's. */
export function parseDocumentText(text: string): ConfigDocument {
  const lines = new LineCounter();
  try {
    const document = parseDocument(text, {
      lineCounter: lines,
      prettyErrors: false,
      stringKeys: true,
      logLevel: 'error',
    });
    const faults = [...document.errors, ...document.warnings];
    const badAliases = aliasProblems(document, lines);
    const problems = [...faults.map((fault) => faultProblem(fault, document, lines)), ...badAliases];
    const lineOf = (path: ConfigPath) => lineAt(document, path, lines);
    // A repeated key leaves the rest of the file readable; after any other fault the tree is guesswork.
    if (badAliases.length > 0 || faults.some((fault) => fault.code !== 'DUPLICATE_KEY')) {
      return { problems, lineOf };
    }
    return { value: (document.toJS({ maxAliasCount: 100 }) as unknown) ?? {}, problems, lineOf };
  } catch {
    const message = 'the YAML cannot be read: it is nested too deeply or its aliases cannot be expanded';
    return { problems: [{ path: '', message }], lineOf: () => undefined };
  }
}

function faultProblem(fault: YAMLError, document: Document, lines: LineCounter): ConfigProblem {
  const line = lines.linePos(fault.pos[0]).line;
  if (fault.code === 'DUPLICATE_KEY') {
    const path = pathText(pathOfKey(document.contents, fault.pos[0], []) ?? []);
    return { path, line, message: 'this key is given twice' };
  }
  // The library's message may end in a quotation of the source, which may be a password.
  const message = fault.message
    .replace(/["']quote$/, 'quote')
    .split(/["':%\\\n]/, 1)[0]
    ?.trim();
  return { path: '', line, message: `YAML syntax: ${message || fault.code}` };
}

/** The parser leaves these to the conversion, which throws or recurses for ever. */
function aliasProblems(document: Document, lines: LineCounter): ConfigProblem[] {
  const problems: ConfigProblem[] = [];
  visit(document, {
    Alias: (_, alias, ancestors) => {
      const target = alias.resolve(document);
      if (target && !ancestors.some((ancestor) => ancestor === target)) return;
      const message = target
        ? 'YAML: an alias stands within its own anchor'
        : 'YAML: this alias has no anchor';
      problems.push({ path: '', line: lines.linePos(alias.range?.[0] ?? 0).line, message });
    },
  });
  return problems;
}

function pathOfKey(node: unknown, offset: number, path: ConfigPath): ConfigPath | undefined {
  if (isMap(node)) {
    for (const pair of node.items) {
      const inner = [...path, keyText(pair)];
      if (isScalar(pair.key) && pair.key.range?.[0] === offset) return inner;
      const found = pathOfKey(pair.value, offset, inner);
      if (found) return found;
    }
  }
  if (isSeq(node)) {
    for (const [index, item] of node.items.entries()) {
      const found = pathOfKey(item, offset, [...path, index]);
      if (found) return found;
    }
  }
  return undefined;
}

function lineAt(document: Document, path: ConfigPath, lines: LineCounter): number | undefined {
  let node: unknown = document.contents;
  let offset: number | undefined;
  for (const part of path) {
    if (isAlias(node)) node = node.resolve(document);
    if (isMap(node)) {
      const pair = lastPair(node, String(part));
      if (!pair) break;
      if (isScalar(pair.key)) offset = pair.key.range?.[0] ?? offset;
      node = pair.value;
    } else if (isSeq(node) && typeof part === 'number') {
      node = node.items[part];
      if (isScalar(node) || isMap(node) || isSeq(node) || isAlias(node)) offset = node.range?.[0] ?? offset;
    } else break;
  }
  return offset === undefined ? undefined : lines.linePos(offset).line;
}

function lastPair(map: YAMLMap, key: string): Pair | undefined {
  return map.items.findLast((pair) => keyText(pair) === key);
}

function keyText(pair: Pair): string {
  return String(isScalar(pair.key) ? pair.key.value : pair.key);
}
