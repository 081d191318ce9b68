import { join } from 'node:path';
import Database from 'better-sqlite3';
import { expect, test } from 'vitest';
import { manifestPath, mustGet, repository } from '../helpers/cold-layer.ts';
import { startFakeUpstream } from '../helpers/fake-upstream.ts';
import { makeImage } from '../helpers/image.ts';
import { filesUnder } from '../helpers/leaks.ts';
import { startProxyProcess } from '../helpers/start-proxy-process.ts';

type Line = { readonly level: string; readonly msg: string; readonly cause?: string };

async function servedOnce() {
  const upstream = await startFakeUpstream();
  upstream.add(repository, makeImage({ layers: [10] }), 'v1');
  const proxy = await startProxyProcess({ registries: { 'ghcr.io': upstream } });
  expect(await proxy.kill('SIGTERM')).toBe(0);
  return proxy;
}

/** What stands beside the blobs of a storage that nobody has open. */
const closedStorage = ['index.db', 'token.key'];

function openStorage(storagePath: string): readonly string[] {
  return filesUnder(storagePath).filter((file) => !file.includes('/'));
}

/** What the server logged, and what else it said. */
function told(output: readonly string[]): { lines: readonly Line[]; text: string } {
  const lines = output.filter((line) => line.startsWith('{')).map((line) => JSON.parse(line) as Line);
  return { lines, text: output.join('\n') };
}

test('a disk that is full at the stop is named, all else is closed, and the exit code is 1', async () => {
  const proxy = await servedOnce();
  fillDisk(proxy.storagePath);
  await proxy.start();
  await mustGet(proxy.url, manifestPath('v1'));
  expect(openStorage(proxy.storagePath)).not.toEqual(closedStorage);
  proxy.output.length = 0;
  expect(await proxy.kill('SIGTERM')).toBe(1);
  const { lines, text } = told(proxy.output);
  const failures = lines.filter(({ msg }) => msg === 'not closed');
  expect(failures.map(({ cause }) => cause?.split('\n')[0])).toEqual([
    'Error: pull times not written: database or disk is full',
  ]);
  expect(lines.at(-1)).toMatchObject({ level: 'error', msg: 'stopped with failures' });
  expect(text).toContain('entrepot: stopped with failures: not everything could be closed: pull times');
  expect(text).not.toContain('cannot start');
  expect(openStorage(proxy.storagePath)).toEqual(closedStorage);
});

test('a server that cannot start says so, and ends with what it had opened closed', async () => {
  const proxy = await servedOnce();
  const index = new Database(join(proxy.storagePath, 'index.db'));
  index.pragma('user_version = 1000000');
  index.close();
  await expect(proxy.start()).rejects.toThrow(/ended with 1 .*cannot start/s);
  expect(openStorage(proxy.storagePath)).toEqual(closedStorage);
});

/** Makes SQLite fail as it does on a full disk, wherever a pull time is to be written. */
function fillDisk(storagePath: string): void {
  const index = new Database(join(storagePath, 'index.db'));
  const tables = index
    .prepare(
      `SELECT DISTINCT m.name FROM sqlite_schema m, pragma_table_info(m.name) c
       WHERE m.type = 'table' AND c.name = 'pulled_at'`,
    )
    .pluck()
    .all() as string[];
  for (const table of tables) {
    index.exec(
      `CREATE TRIGGER full_${table} BEFORE UPDATE ON ${table} WHEN new.pulled_at IS NOT old.pulled_at
       BEGIN SELECT RAISE(FAIL, 'database or disk is full'); END`,
    );
  }
  index.close();
  expect(tables.length).toBeGreaterThan(0);
}
