import { readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { expect, test } from 'vitest';
import { type Room, readRoomTable } from './helpers/room-table.ts';
import {
  bareCode,
  importsOf,
  readSources,
  root,
  type Source,
  sourceOf,
  valuesOf,
} from './helpers/sources.ts';

const sources = readSources('src');

const table = readRoomTable(readFileSync(join(root, 'AGENTS.md'), 'utf8'));

function roomOffences(all: readonly Source[]): string[] {
  return all.flatMap((source) => {
    const allowed = table.get(source.room)?.rooms;
    if (allowed === undefined) return [`${source.file}: a room that the table does not know`];
    return importsOf(source).flatMap(({ from }) => {
      if (!from.startsWith('.')) return [];
      const target = normalize(join(dirname(source.file), from));
      const room = sourceOf(target, '').room;
      const fine = room === source.room || allowed === 'all' || allowed.includes(room);
      return fine ? [] : [`${source.file} imports ${target}: ${source.room} may not import ${room}`];
    });
  });
}

function packageName(from: string): string {
  return from
    .split('/')
    .slice(0, from.startsWith('@') ? 2 : 1)
    .join('/');
}

/** The packages that a source imports; one of Node's own without `node:` is among them, and is nobody's. */
function packagesOf(source: Source): readonly string[] {
  return importsOf(source)
    .filter(({ from }) => !from.startsWith('.') && !from.startsWith('node:'))
    .map(({ from }) => packageName(from));
}

function packageOffences(all: readonly Source[]): string[] {
  return all.flatMap((source) =>
    packagesOf(source)
      .filter((name) => table.get(source.room)?.packages.includes(name) !== true)
      .map((name) => `${source.file} imports ${name}: ${source.room} may not`),
  );
}

/** Node's modules by what they give; those that give nothing but computation are `undefined`. */
const powers: ReadonlyMap<string, string | undefined> = new Map([
  ...['buffer', 'crypto', 'events', 'os', 'path', 'readline', 'stream', 'stream/consumers'].map(nothing),
  ...['stream/promises', 'timers', 'timers/promises', 'url', 'util', 'zlib'].map(nothing),
  ...['net', 'tls', 'http', 'https', 'http2', 'dns', 'dns/promises', 'dgram'].map(giving('sockets')),
  ...['fs', 'fs/promises'].map(giving('files')),
  ...['child_process', 'cluster'].map(giving('programs')),
  ...['worker_threads'].map(giving('threads')),
]);

function nothing(name: string): [string, undefined] {
  return [`node:${name}`, undefined];
}

function giving(power: string) {
  return (name: string): [string, string] => [`node:${name}`, power];
}

/** Names of modules that give more, which only compute. */
const harmless = /^(?:isIP|isIPv4|isIPv6|BlockList)$/;

/** The names of `node:fs` that only read; `open` does when all that the file opens is opened with 'r'. */
const reading =
  /^(?:accessSync|constants|existsSync|lstat|readFile|readFileSync|readdir|stat|statSync|watch|watchFile)$/;

function onlyReads(name: string, { text }: Source): boolean {
  return reading.test(name) || (name === 'open' && !/\bopen\((?![^()]*, 'r'\))/.test(text));
}

const nobody: Room = { rooms: [], packages: [], powers: [], writers: [] };

function powerOffences(all: readonly Source[]): string[] {
  return all.flatMap((source) => {
    const room = table.get(source.room) ?? nobody;
    const writes =
      room.powers.includes('writes files') ||
      room.writers.some((name) => source.file === `${source.room}/${name}.ts`);
    const reads = writes || room.powers.includes('reads files') || room.writers.length > 0;
    return importsOf(source).flatMap((statement) => {
      const { from } = statement;
      if (!from.startsWith('node:')) return [];
      const offence = (what: string) => [`${source.file} takes ${what} from ${from}: ${source.room} may not`];
      if (room.powers.includes('pure')) return offence('anything');
      if (!powers.has(from)) return offence('what this test does not know');
      const power = powers.get(from);
      const values = valuesOf(statement).filter((name) => !harmless.test(name));
      if (power === undefined || room.powers.includes(power) || values.length === 0) return [];
      const forbidden =
        power === 'files' ? values.filter((name) => (onlyReads(name, source) ? !reads : !writes)) : values;
      return forbidden.length === 0 ? [] : offence(forbidden.join(', '));
    });
  });
}

/** What is there without being imported, and is not computation alone: clocks, chance, the process, the network. */
const ambient =
  /(?<![.\w$])(?:Date|Temporal|performance|set(?:Timeout|Interval|Immediate)|queueMicrotask|process|globalThis|crypto|fetch|WebSocket|EventSource|Worker|console|navigator|require)\b|\bMath\.random\b/g;

function purityOffences(all: readonly Source[]): string[] {
  return all
    .filter((source) => table.get(source.room)?.powers.includes('pure'))
    .flatMap((source) =>
      [...bareCode(source.text).matchAll(ambient)].map(([name]) => `${source.file} uses ${name}: it is pure`),
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

function configOffences(all: readonly Source[]): string[] {
  return all
    .filter((source) => importsOf(source).some(({ names }) => /\bConfig\b/.test(names)))
    .filter((source) => !['app', 'main', 'config', 'cli'].includes(source.room))
    .map((source) => `${source.file} sees Config`);
}

test('rooms import only the rooms that the table in AGENTS.md allows', () => {
  expect(sources.length).toBeGreaterThan(10);
  expect(roomOffences(sources)).toEqual([]);
  const empty = [...table.keys()].filter((name) => !sources.some(({ room }) => room === name));
  expect(empty).toEqual([]);
});

test('each third-party package is imported by the rooms that the table gives it to, and by each of them', () => {
  expect(packageOffences(sources)).toEqual([]);
  const given = [...table].flatMap(([room, { packages }]) => packages.map((name) => `${room}: ${name}`));
  const used = sources.flatMap((source) => packagesOf(source).map((name) => `${source.room}: ${name}`));
  expect(given.toSorted()).toEqual([...new Set(used)].toSorted());
  const declared = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { dependencies: object };
  const homes = new Set([...table.values()].flatMap(({ packages }) => packages));
  expect([...homes].toSorted()).toEqual(Object.keys(declared.dependencies).toSorted());
});

test('rooms touch files, sockets, programs and threads only as the table says', () => {
  expect(powerOffences(sources)).toEqual([]);
  const writers = [...table].flatMap(([room, { writers }]) => writers.map((name) => `${room}/${name}.ts`));
  expect(writers.filter((file) => !sources.some((source) => source.file === file))).toEqual([]);
});

test('the pure rooms have no clock, no chance and no process either', () => {
  expect([...table].filter(([, { powers }]) => powers.includes('pure')).map(([name]) => name)).toEqual([
    'oci',
  ]);
  expect(purityOffences(sources)).toEqual([]);
});

test('HTTP status numbers appear in http/respond.ts only', () => {
  expect(statusOffences(sources)).toEqual([]);
});

test('Config is seen by the composition root, the command line and its own room only', () => {
  expect(configOffences(sources)).toEqual([]);
});

test('the rules see an offence of each kind', () => {
  const offences = (rule: (all: readonly Source[]) => string[], file: string, text: string) =>
    rule([sourceOf(file, text)]).map((offence) => offence.slice(file.length + 1));
  expect(offences(roomOffences, 'oci/x.ts', "import type { Blob } from '../store/blob.ts';")).toEqual([
    'imports store/blob.ts: oci may not import store',
  ]);
  expect(offences(roomOffences, 'cli/x.ts', "const { x } = await import('../pull/x.ts');")).toEqual([
    'imports pull/x.ts: cli may not import pull',
  ]);
  expect(offences(roomOffences, 'sideroom/x.ts', '')).toEqual([' a room that the table does not know']);

  expect(offences(packageOffences, 'pull/x.ts', "import { z } from 'zod/v4';")).toEqual([
    'imports zod: pull may not',
  ]);
  expect(offences(packageOffences, 'http/x.ts', "import { LRUCache } from 'lru-cache';")).toHaveLength(1);
  expect(offences(packageOffences, 'policy/x.ts', "import picomatch from 'picomatch';")).toHaveLength(1);
  expect(offences(packageOffences, 'oci/x.ts', "import fs from 'fs';")).toEqual(['imports fs: oci may not']);

  const reader = "import {\n  writeFile,\n  readFile,\n} from 'node:fs/promises';";
  expect(offences(powerOffences, 'policy/x.ts', reader)).toEqual([
    'takes writeFile from node:fs/promises: policy may not',
  ]);
  expect(offences(powerOffences, 'pull/x.ts', reader)).toEqual([
    'takes writeFile, readFile from node:fs/promises: pull may not',
  ]);
  expect(offences(powerOffences, 'cli/x.ts', reader)).toHaveLength(1);
  expect(offences(powerOffences, 'cli/commands/lock.ts', reader)).toEqual([]);
  const opener = (mode: string) => `import { open } from 'node:fs/promises';\nawait open(file${mode});`;
  expect(offences(powerOffences, 'cli/x.ts', opener(", 'r'"))).toEqual([]);
  expect(offences(powerOffences, 'cli/x.ts', opener(", 'r+'"))).toHaveLength(1);
  expect(offences(powerOffences, 'cli/x.ts', opener(''))).toHaveLength(1);
  expect(offences(powerOffences, 'store/x.ts', "import * as fs from 'node:fs';")).toEqual([]);
  expect(offences(powerOffences, 'http/x.ts', "import * as fs from 'node:fs';")).toHaveLength(1);
  for (const name of ['net', 'dns', 'http2', 'child_process', 'worker_threads', 'vm']) {
    expect(offences(powerOffences, 'transfer/x.ts', `import { x } from 'node:${name}';`)).toHaveLength(1);
  }
  expect(offences(powerOffences, 'config/x.ts', "import { isIP } from 'node:net';")).toEqual([]);
  expect(offences(powerOffences, 'pull/x.ts', "import type { Socket } from 'node:net';")).toEqual([]);
  for (const name of ['timers/promises', 'path']) {
    expect(offences(powerOffences, 'oci/x.ts', `import { x } from 'node:${name}';`)).toHaveLength(1);
  }

  const clock =
    "const now = Date.now(); // Date\nconst s = 'https://date'; performance.now(); Math.random();";
  expect(offences(purityOffences, 'oci/x.ts', clock)).toEqual([
    'uses Date: it is pure',
    'uses performance: it is pure',
    'uses Math.random: it is pure',
  ]);
  expect(offences(purityOffences, 'lib/x.ts', clock)).toEqual([]);

  expect(offences(statusOffences, 'http/x.ts', 'return respond(404, body);')).toEqual([
    'has the HTTP status 404',
  ]);
  const config = "import type { Config } from '../config/config.ts';";
  expect(offences(configOffences, 'transfer/x.ts', config)).toEqual(['sees Config']);
});
