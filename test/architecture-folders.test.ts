import { readFileSync } from 'node:fs';
import { basename, dirname, join, normalize } from 'node:path';
import { expect, test } from 'vitest';
import { readFolderTable } from './helpers/room-table.ts';
import { importsOf, readSources, root, type Source, sourceOf } from './helpers/sources.ts';

const sources = readSources('src');

const table = readFolderTable(readFileSync(join(root, 'AGENTS.md'), 'utf8'));

/** The files that a source imports, by their path in the same tree. */
function targetsOf(source: Source): readonly string[] {
  return importsOf(source)
    .filter(({ from }) => from.startsWith('.'))
    .map(({ from }) => normalize(join(dirname(source.file), from)));
}

/** Groups of files that can be reached from each other: each is a circle (Tarjan's strongly connected components). */
function circles(all: readonly Source[]): readonly (readonly string[])[] {
  const arrows = new Map(all.map((source) => [source.file, targetsOf(source)]));
  const order = new Map<string, number>();
  const lowest = new Map<string, number>();
  const path: string[] = [];
  const found: string[][] = [];
  const visit = (file: string): number => {
    const own = order.size;
    let low = own;
    order.set(file, own);
    path.push(file);
    for (const target of arrows.get(file) ?? []) {
      if (!arrows.has(target)) continue;
      if (!order.has(target)) low = Math.min(low, visit(target));
      else if (path.includes(target)) low = Math.min(low, lowest.get(target) ?? order.get(target) ?? low);
    }
    lowest.set(file, low);
    if (low === own) {
      const circle = path.splice(path.indexOf(file));
      if (circle.length > 1 || (arrows.get(file) ?? []).includes(file)) found.push(circle.toSorted());
    }
    return low;
  };
  for (const { file } of all) if (!order.has(file)) visit(file);
  return found;
}

/** A file's room and the folder in it; `top` for a file directly in the room. */
function placeOf(file: string): { readonly room: string; readonly folder: string } {
  const [room = '', ...rest] = file.split('/');
  return { room, folder: rest.length > 1 ? rest.slice(0, -1).join('/') : 'top' };
}

function folderOffences(all: readonly Source[]): string[] {
  return all.flatMap((source) => {
    const own = placeOf(source.file);
    const name = own.folder === 'top' ? own.room : `${own.room}/${own.folder}`;
    return targetsOf(source).flatMap((target) => {
      const { room, folder } = placeOf(target);
      if (room !== own.room || folder === own.folder) return [];
      const fine = table.get(name)?.includes(folder) === true;
      return fine ? [] : [`${source.file} imports ${target}: ${name} may not import ${folder}`];
    });
  });
}

/** Those that lie together in one folder, where there are more of them than a person takes in. */
function crowded(files: readonly string[], most: number): string[] {
  const counts = new Map<string, number>();
  for (const file of files) counts.set(dirname(file), (counts.get(dirname(file)) ?? 0) + 1);
  return [...counts]
    .filter(([, count]) => count > most)
    .map(([folder, count]) => `${folder}: ${count} files`);
}

test('no files import each other in a circle', () => {
  for (const folder of ['src', 'test', 'bench']) expect(circles(readSources(folder))).toEqual([]);
});

test('folders of one room import each other only as the second table in AGENTS.md allows', () => {
  expect(folderOffences(sources)).toEqual([]);
});

test('the second table names every folder that there is, and no other', () => {
  const folders = sources.map(({ file }) => placeOf(file)).filter(({ folder }) => folder !== 'top');
  const names = new Set(folders.map(({ room, folder }) => `${room}/${folder}`));
  const listed = [...table.keys()].filter((name) => name.includes('/'));
  expect(listed.toSorted()).toEqual([...names].toSorted());
});

test('folders of one room lie above each other in floors, the files at the top of the room apart', () => {
  const within = [...table].filter(([name]) => name.includes('/'));
  const asSources = within.map(([name, sees]) => {
    const { room } = placeOf(`${name}/x`);
    const lines = sees.filter((other) => other !== 'top').map((other) => `import '../../${room}/${other}';`);
    return sourceOf(name, lines.join('\n'));
  });
  const paths = asSources.map(({ file, room, text }) => ({
    file,
    room,
    text: text.replaceAll('../../', '../'),
  }));
  expect(circles(paths)).toEqual([]);
});

test('no two files of src have one name, and no folder has more than 16 files', () => {
  const names = sources.map(({ file }) => basename(file));
  expect(names.filter((name, index) => names.indexOf(name) !== index)).toEqual([]);
  expect(
    crowded(
      sources.map(({ file }) => file),
      16,
    ),
  ).toEqual([]);
  const mirrored = readSources('test').filter(({ room }) => table.has(room));
  expect(
    crowded(
      mirrored.map(({ file }) => file),
      16,
    ),
  ).toEqual([]);
});

test('the rules see an offence of each kind', () => {
  const a = sourceOf('pull/a.ts', "import { b } from './fill/b.ts';");
  const b = sourceOf('pull/fill/b.ts', "import type { C } from '../../store/c.ts';");
  const c = sourceOf('store/c.ts', "export const late = () => import('../pull/a.ts');");
  expect(circles([a, b, c])).toEqual([['pull/a.ts', 'pull/fill/b.ts', 'store/c.ts']]);
  expect(circles([a, b])).toEqual([]);
  expect(circles([sourceOf('x.ts', "import './x.ts';")])).toEqual([['x.ts']]);
  expect(folderOffences([a])).toEqual(['pull/a.ts imports pull/fill/b.ts: pull may not import fill']);
  const up = sourceOf('pull/threads/x.ts', "import '../fill/fill.ts';");
  expect(folderOffences([up])).toEqual([
    'pull/threads/x.ts imports pull/fill/fill.ts: pull/threads may not import fill',
  ]);
  expect(crowded(['a/1.ts', 'a/2.ts', 'b/1.ts'], 1)).toEqual(['a: 2 files']);
});
