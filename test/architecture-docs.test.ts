import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { readSources, root } from './helpers/sources.ts';

const page = readFileSync(join(root, 'docs/ARCHITECTURE.md'), 'utf8');

const files = readSources('src').map(({ file }) => file);

/** The part of the page from a heading to the next. */
function section(heading: string): string {
  const [, after = ''] = page.split(`\n## ${heading}\n`);
  return after.split('\n## ')[0] ?? '';
}

const ways = section('One page through the files');

test('every file of the ways through the code exists, and no way has more than twelve', () => {
  const [, drawing = ''] = ways.split('```');
  const hops = [...drawing.matchAll(/(?<![\d.])(\d{1,2}) {1,2}((?:[a-z]+|\.\.)\/[\w/-]+)/g)];
  expect(hops.length).toBeGreaterThan(30);
  const missing = hops.filter(([, , path = '']) => {
    const name = `/${path.replace(/^\.\.\//, '')}.ts`;
    return !files.some((file) => `/${file}`.endsWith(name));
  });
  expect(missing.map(([, , path]) => path)).toEqual([]);
  expect(Math.max(...hops.map(([, number]) => Number(number)))).toBeLessThanOrEqual(12);
});

test('what is to be changed is where the page says', () => {
  const rows = ways.split('\n').filter((line) => line.startsWith('|'));
  expect(rows.length).toBeGreaterThan(15);
  const missing = rows.flatMap((row) => {
    const [, , places = ''] = row.split('|');
    let folder = '';
    return [...places.matchAll(/`([\w/*.-]+)`/g)].flatMap(([, path = '']) => {
      if (path.includes('*')) return files.some((file) => file.endsWith('-records.ts')) ? [] : [path];
      if (path.includes('/')) folder = path.slice(0, path.lastIndexOf('/') + 1);
      const candidates = [path, `${folder}${path}`, `${folder}${path}.ts`];
      return candidates.some((each) => existsSync(join(root, 'src', each))) ? [] : [path];
    });
  });
  expect(missing).toEqual([]);
});
