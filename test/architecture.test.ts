import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { expect, test } from 'vitest';

const root = join(import.meta.dirname, '..');
const src = join(root, 'src');

/** Which rooms a room may import; a file directly in src is a room of its own name. */
const mayImport: Readonly<Record<string, readonly string[] | 'anything'>> = {
  lib: [],
  oci: [],
  config: ['lib'],
  store: ['oci', 'lib'],
  upstream: ['oci', 'lib'],
  policy: ['oci', 'lib'],
  pull: ['oci', 'store', 'upstream', 'policy', 'lib'],
  push: ['oci', 'store', 'policy', 'lib'],
  transfer: ['oci', 'store', 'upstream', 'pull', 'policy', 'lib'],
  http: ['oci', 'pull', 'push', 'policy', 'transfer', 'lib'],
  cli: ['config', 'app', 'transfer', 'lib'],
  app: 'anything',
  main: 'anything',
};

/** The one or two rooms that may import a third-party package. */
const packageHomes: Readonly<Record<string, readonly string[]>> = {
  'better-sqlite3': ['store'],
  undici: ['upstream'],
  tldts: ['upstream'],
  hono: ['http'],
  '@hono/node-server': ['http'],
  zod: ['config'],
  yaml: ['config'],
  pino: ['lib'],
  'prom-client': ['lib'],
  bcryptjs: ['policy'],
  croner: ['transfer'],
  jose: ['policy'],
  picomatch: ['policy'],
  re2js: ['policy'],
  semver: ['policy'],
  commander: ['cli', 'main'],
};

/** What the vocabulary room must not touch: it is pure. */
const impure = [
  'node:fs',
  'node:fs/promises',
  'node:net',
  'node:tls',
  'node:http',
  'node:https',
  'node:timers',
];

/** The names of `node:fs` that only read. */
const fsReads =
  /^(?:readFileSync|readFile|existsSync|stat|statSync|watch|watchFile|type \w+|constants|accessSync)$/;

type Import = { readonly names: string; readonly from: string };
type Source = { readonly file: string; readonly room: string; readonly text: string };

function sourceOf(file: string, text: string): Source {
  const [first = ''] = file.split('/');
  return { file, room: first.replace(/\.ts$/, ''), text };
}

const sources: readonly Source[] = readdirSync(src, { recursive: true, encoding: 'utf8' })
  .filter((file) => file.endsWith('.ts'))
  .map((file) => sourceOf(file, readFileSync(join(src, file), 'utf8')));

function importsOf(source: Source): readonly Import[] {
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

function roomOffences(all: readonly Source[]): string[] {
  return all.flatMap((source) => {
    const allowed = mayImport[source.room];
    if (allowed === undefined) return [`${source.file}: a room that the table does not know`];
    return importsOf(source).flatMap(({ from }) => {
      if (!from.startsWith('.')) return [];
      const target = normalize(join(dirname(source.file), from));
      const room = sourceOf(target, '').room;
      const fine = room === source.room || allowed === 'anything' || allowed.includes(room);
      return fine ? [] : [`${source.file} imports ${target}: ${source.room} may not import ${room}`];
    });
  });
}

function packageName(from: string): string {
  return from.startsWith('@') ? from.split('/').slice(0, 2).join('/') : (from.split('/')[0] ?? '');
}

function packageOffences(all: readonly Source[]): string[] {
  return all.flatMap((source) =>
    importsOf(source).flatMap(({ from }) => {
      const homes = packageHomes[packageName(from)];
      return !homes || homes.includes(source.room)
        ? []
        : [`${source.file} imports ${from}, which lives in ${homes}`];
    }),
  );
}

function fileSystemOffences(all: readonly Source[]): string[] {
  return all.flatMap((source) =>
    importsOf(source).flatMap(({ names, from }) => {
      if (source.room === 'oci' && impure.includes(from))
        return [`${source.file} imports ${from}: oci is pure`];
      if (!/^node:fs(?:\/promises)?$/.test(from) || ['store', 'cli'].includes(source.room)) return [];
      const list = names
        .replace(/^type\s+/, '')
        .replace(/[{}]/g, '')
        .split(',')
        .map((name) => name.trim());
      const writes = list.filter((name) => name !== '' && !fsReads.test(name) && !names.startsWith('type '));
      return writes.length === 0
        ? []
        : [`${source.file} takes ${writes.join(', ')} from ${from}: only store writes`];
    }),
  );
}

function statusOffences(all: readonly Source[]): string[] {
  const numbers = /(?<![\w.'-])(?:20[0-6]|30[1-8]|4(?:0\d|1[0-8]|2[0-9]|31|51)|50[0-8])(?![\w.'-])/g;
  return all
    .filter((source) => source.room === 'http' && source.file !== 'http/respond.ts')
    .flatMap((source) => {
      const code = source.text.replace(/\/\*[\s\S]*?\*\/|\/\/.*$/gm, '');
      return [...code.matchAll(numbers)].map(([number]) => `${source.file} has the HTTP status ${number}`);
    });
}

test('rooms import only the rooms that the table allows', () => {
  expect(sources.length).toBeGreaterThan(10);
  expect(roomOffences(sources)).toEqual([]);
});

test('each third-party package is imported by its own room only', () => {
  expect(packageOffences(sources)).toEqual([]);
  const declared = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { dependencies: object };
  const homeless = Object.keys(declared.dependencies).filter(
    (name) => !packageHomes[name] && name !== 'lru-cache',
  );
  expect(homeless).toEqual([]);
});

test('only store writes files, and oci touches nothing', () => {
  expect(fileSystemOffences(sources)).toEqual([]);
});

test('HTTP status numbers appear in http/respond.ts only', () => {
  expect(statusOffences(sources)).toEqual([]);
});

test('Config is seen by the composition root, the command line and its own room only', () => {
  const seen = sources.filter((source) => importsOf(source).some(({ names }) => /\bConfig\b/.test(names)));
  const offenders = seen.filter((source) => !['app', 'main', 'config', 'cli'].includes(source.room));
  expect(offenders.map((source) => source.file)).toEqual([]);
});

test('no file is longer than 400 lines, a barrel or a drawer of utilities', () => {
  const tests = readdirSync(join(root, 'test'), { recursive: true, encoding: 'utf8' });
  const longTests = tests
    .filter((file) => file.endsWith('.ts'))
    .filter((file) => readFileSync(join(root, 'test', file), 'utf8').split('\n').length > 400);
  const long = sources.filter((source) => source.text.split('\n').length > 400);
  expect([...long.map((source) => source.file), ...longTests]).toEqual([]);
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

test('the rules see an offence of each kind', () => {
  const bad = [
    sourceOf(
      'oci/x.ts',
      "import { open } from 'node:fs/promises';\nimport type { Blob } from '../store/blob.ts';",
    ),
    sourceOf(
      'pull/x.ts',
      "import {\n  writeFile,\n  readFile,\n} from 'node:fs/promises';\nimport { z } from 'zod/v4';",
    ),
    sourceOf('http/x.ts', 'return respond(404, body);'),
    sourceOf('sideroom/x.ts', ''),
  ];
  expect(roomOffences(bad)).toEqual([
    'oci/x.ts imports store/blob.ts: oci may not import store',
    'sideroom/x.ts: a room that the table does not know',
  ]);
  expect(fileSystemOffences(bad)).toHaveLength(2);
  expect(packageOffences(bad)).toEqual(['pull/x.ts imports zod/v4, which lives in config']);
  expect(statusOffences(bad)).toEqual(['http/x.ts has the HTTP status 404']);
});
