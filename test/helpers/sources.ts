import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/** The project's folder. */
export const root = join(import.meta.dirname, '../..');

/** One file of `src`, by its path there. */
export type Source = { readonly file: string; readonly room: string; readonly text: string };

/** One import or re-export: what stands before `from` (`*` if dynamic), and the module. */
export type Import = { readonly names: string; readonly from: string };

/** A source; a file directly in `src` is a room of its own name. */
export function sourceOf(file: string, text: string): Source {
  const [first = ''] = file.split('/');
  return { file, room: first.replace(/\.ts$/, ''), text };
}

/** Every TypeScript file below a folder of the project, by its path in that folder. */
export function readSources(folder: string): readonly Source[] {
  return readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.ts'))
    .map((file) => sourceOf(file, readFileSync(join(root, folder, file), 'utf8')));
}

/** The imports, type imports among them. */
export function importsOf(source: Source): readonly Import[] {
  const code = source.text.replace(/^\s*(?:\/\/|\*|\/\*).*$/gm, '');
  const statements = code.matchAll(/^(?:import|export)\s+([^;'"]*?\s*from\s*)?['"]([^'"]+)['"]/gm);
  const dynamic = code.matchAll(/\bimport\(\s*['"]([^'"]+)['"]\s*\)/g);
  return [
    ...[...statements].map(([, names = '', from = '']) => ({
      names: names.replace(/\s*from\s*$/, ''),
      from,
    })),
    ...[...dynamic].map(([, from = '']) => ({ names: '*', from })),
  ];
}

/** The names of an import that exist when the program runs: no types. */
export function valuesOf({ names }: Import): readonly string[] {
  if (/^type\s/.test(names)) return [];
  return names
    .replace(/[{}]/g, '')
    .split(',')
    .map((name) => name.trim())
    .filter((name) => name !== '' && !/^type\s/.test(name));
}

/** A text without its comments, and with nothing in its quotes. */
export function bareCode(text: string): string {
  const skipped = /\/\*[\s\S]*?\*\/|\/\/.*|'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*"/g;
  return text.replace(skipped, (found) => (found.startsWith('/') ? '' : "''"));
}
