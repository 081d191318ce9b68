import {
  type Document,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  LineCounter,
  parseAllDocuments,
  type YAMLMap,
} from 'yaml';
import { substituteVariables } from './compose-variables.ts';
import { ConfigError, type ConfigProblem } from './problems.ts';

/** An image that a text names, as it is written there, and the first line (from 1) that does. */
type ListedImage = { readonly name: string; readonly line: number };

/** More nodes than any file that people write has: aliases can make a small file name a great many. */
const mostNodes = 200_000;

/** Deeper than any file that people write is nested. */
const deepest = 200;

/** The lists of a Kubernetes object whose entries run an image. */
const containerLists: ReadonlySet<string> = new Set(['containers', 'initContainers', 'ephemeralContainers']);

/**
 * Finds the images that a text names: a plain list (one a line, `#` for comments), a compose file (`services.*.image`),
 * Kubernetes objects of any kind (everything under `containers`, `initContainers` and `ephemeralContainers`, and image
 * volumes), or a kustomization (`images`). Each name is given once, in the order of the text. Names are not checked.
 * @param env what `${VARIABLE}` in a compose file stands for
 * @param source what the text is called in the error's message
 * @throws ConfigError naming the lines of what cannot be read and of variables that nothing sets
 */
export function findImages(
  text: string,
  env: Readonly<Record<string, string | undefined>> = {},
  source = 'list',
): readonly ListedImage[] {
  const plain = plainLines(text);
  const found = plain ?? new YamlImages(text, source).find();
  const problems: ConfigProblem[] = [];
  const images = new Map<string, ListedImage>();
  for (const { name, line } of found) {
    const resolved = substituteVariables(name, env);
    if (resolved.kind === 'unset') {
      problems.push({
        path: '',
        line,
        message: `${resolved.why}: set it in the environment, or write it out`,
      });
    } else if (!images.has(resolved.text)) {
      images.set(resolved.text, { name: resolved.text, line });
    }
  }
  if (problems.length > 0) throw new ConfigError(source, problems);
  return [...images.values()];
}

/** The names of a plain list; `undefined` when it is not one: YAML that names an image has a blank or ends in a colon. */
function plainLines(text: string): readonly ListedImage[] | undefined {
  const lines = text.split(/\r?\n/).map((line) => line.replace(/(?:^|\s)#.*/, '').trim());
  if (lines.some((line) => /\s/.test(line) || line.endsWith(':') || /^(?:---|[[{])/.test(line)))
    return undefined;
  return lines.map((name, index) => ({ name, line: index + 1 })).filter(({ name }) => name !== '');
}

/** Goes through the documents of one YAML text. */
class YamlImages {
  readonly #lines = new LineCounter();
  readonly #documents: readonly Document[];
  readonly #source: string;
  readonly #found: ListedImage[] = [];
  #nodes = 0;

  constructor(text: string, source: string) {
    this.#source = source;
    try {
      const options = { lineCounter: this.#lines, prettyErrors: false, logLevel: 'error' } as const;
      this.#documents = [...parseAllDocuments(text, options)];
    } catch {
      throw new ConfigError(source, [
        { path: '', message: 'the YAML cannot be read: it is nested too deeply' },
      ]);
    }
  }

  /** @throws ConfigError when it is no YAML */
  find(): readonly ListedImage[] {
    const problems = this.#documents.flatMap(({ errors }) => {
      return errors.map((error) => {
        const message = `neither a list of images nor YAML: ${error.message}`;
        return { path: '', line: this.#lines.linePos(error.pos[0]).line, message };
      });
    });
    if (problems.length > 0) throw new ConfigError(this.#source, problems);
    for (const document of this.#documents) {
      const top = document.contents;
      this.#list(document, top);
      this.#compose(document, top);
      this.#kustomization(document, top);
      this.#walk(document, top);
    }
    return this.#found;
  }

  /** A list of names that is written as YAML. */
  #list(document: Document, top: unknown): void {
    if (!isSeq(top)) return;
    for (const item of top.items) this.#add(resolve(document, item));
  }

  #compose(document: Document, top: unknown): void {
    const services = resolve(document, fieldOf(document, top, 'services'));
    if (!isMap(services)) return;
    for (const { value } of services.items) this.#add(resolve(document, fieldOf(document, value, 'image')));
  }

  #kustomization(document: Document, top: unknown): void {
    const images = resolve(document, fieldOf(document, top, 'images'));
    if (!isSeq(images)) return;
    for (const image of images.items) {
      const text = (key: string) => textOf(resolve(document, fieldOf(document, image, key)));
      const name = text('newName') ?? text('name');
      const [tag, digest] = [text('newTag'), text('digest')];
      // What renames an image without saying which one it is names none.
      if (name === undefined || (tag === undefined && digest === undefined)) continue;
      const at = resolve(document, image);
      this.#push(digest === undefined ? `${name}:${tag}` : `${name}@${digest}`, at);
    }
  }

  #walk(document: Document, node: unknown, depth = 0): void {
    this.#nodes += 1;
    if (this.#nodes > mostNodes || depth > deepest) {
      const problem = {
        path: '',
        message: 'it is too large or too deep to be looked through, or its aliases make it so',
      };
      throw new ConfigError(this.#source, [problem]);
    }
    const value = resolve(document, node);
    if (isSeq(value)) for (const item of value.items) this.#walk(document, item, depth + 1);
    if (!isMap(value)) return;
    for (const pair of value.items) {
      const key = textOf(pair.key);
      const child = resolve(document, pair.value);
      if (key !== undefined && isSeq(child)) {
        if (containerLists.has(key)) {
          for (const each of child.items) this.#add(resolve(document, fieldOf(document, each, 'image')));
        }
        if (key === 'volumes') {
          for (const each of child.items) {
            const image = fieldOf(document, each, 'image');
            this.#add(resolve(document, fieldOf(document, image, 'reference')));
          }
        }
      }
      this.#walk(document, pair.value, depth + 1);
    }
  }

  #add(node: unknown): void {
    const text = textOf(node);
    if (text !== undefined && text.trim() !== '') this.#push(text.trim(), node);
    if (!isMap(node) && !isSeq(node)) return;
    const message =
      'this image is no text: if this is a template, render it first, as in "helm template | ... -f -"';
    throw new ConfigError(this.#source, [{ path: '', line: this.#lineOf(node), message }]);
  }

  #push(name: string, node: unknown): void {
    this.#found.push({ name, line: this.#lineOf(node) });
  }

  #lineOf(node: unknown): number {
    const offset = isScalar(node) || isMap(node) || isSeq(node) ? (node.range?.[0] ?? 0) : 0;
    return this.#lines.linePos(offset).line;
  }
}

function resolve(document: Document, node: unknown): unknown {
  return isAlias(node) ? node.resolve(document) : node;
}

/** The value of a map's key, also where the map takes it over from another (`<<`). */
function fieldOf(document: Document, node: unknown, key: string, depth = 0): unknown {
  const map = resolve(document, node);
  if (!isMap(map) || depth > 10) return undefined;
  const own = map.items.find((pair) => textOf(pair.key) === key);
  if (own !== undefined) return own.value;
  for (const from of mergedInto(document, map)) {
    const found = fieldOf(document, from, key, depth + 1);
    if (found !== undefined) return found;
  }
  return undefined;
}

function mergedInto(document: Document, map: YAMLMap): readonly unknown[] {
  const merge = map.items.find((pair) => textOf(pair.key) === '<<');
  const value = resolve(document, merge?.value);
  return isSeq(value) ? value.items : value === undefined ? [] : [value];
}

function textOf(node: unknown): string | undefined {
  return isScalar(node) && typeof node.value === 'string'
    ? node.value
    : isScalar(node) && typeof node.value === 'number'
      ? String(node.source ?? node.value)
      : undefined;
}
