import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { importsOf, readSources, root } from './helpers/sources.ts';

const sources = readSources('src');

test('no file is longer than 400 lines, a barrel or a drawer of utilities', () => {
  const all = [...sources, ...readSources('test'), ...readSources('bench')];
  const long = all.filter((source) => source.text.split('\n').length > 400);
  expect(long.map((source) => source.file)).toEqual([]);
  const drawers = sources.filter((source) =>
    /(?:^|\/)(?:utils?|helpers?|common|misc|index)\.ts$/.test(source.file),
  );
  expect(drawers.map((source) => source.file)).toEqual([]);
  const reExports = sources.filter((source) => /^export\s+\*\s+from/m.test(source.text));
  expect(reExports.map((source) => source.file)).toEqual([]);
});

test('every import names its .ts file, so that Node runs the sources as they are', () => {
  const nameless = sources.flatMap((source) => {
    const local = importsOf(source).filter(
      ({ from }) => from.startsWith('.') && !/\.(?:ts|json)$/.test(from),
    );
    return local.map(({ from }) => `${source.file} imports ${from}`);
  });
  expect(nameless).toEqual([]);
});

test('the lock file installs anywhere: no compiler for better-sqlite3, no registry written down', () => {
  const text = readFileSync(join(root, 'package-lock.json'), 'utf8');
  const lock = JSON.parse(text) as { packages: Record<string, { gypfile?: boolean; resolved?: string }> };
  const resolved = Object.entries(lock.packages).filter(([, entry]) => entry.resolved !== undefined);
  expect(resolved.map(([name]) => name)).toEqual([]);
  // npm 10 runs node-gyp for a package with a binding.gyp unless the lock file says that it has none.
  expect(lock.packages['node_modules/better-sqlite3']?.gypfile).toBe(false);
});
