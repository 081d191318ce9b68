import SqliteDatabase, { type Database } from 'better-sqlite3';
import { expect, onTestFinished, test } from 'vitest';
import { IndexError, migrate } from '../../../src/store/sqlite/migrations.ts';

function empty(): Database {
  const database = new SqliteDatabase(':memory:');
  onTestFinished(() => {
    database.close();
  });
  return database;
}

function versionOf(database: Database): unknown {
  return database.pragma('user_version', { simple: true });
}

function tablesOf(database: Database): unknown[] {
  return database.prepare("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name").pluck().all();
}

test('an empty index comes to the newest schema, and stays there', () => {
  const database = empty();
  migrate(database);
  const [version, tables] = [versionOf(database), tablesOf(database)];
  expect(version).toBeGreaterThan(0);
  expect(tables).toEqual(
    expect.arrayContaining(['repository', 'manifest', 'blob', 'tag', 'link', 'child', 'listing']),
  );
  database.prepare("INSERT INTO repository (registry, name) VALUES ('r', 'n')").run();
  migrate(database);
  expect(versionOf(database)).toBe(version);
  expect(database.prepare('SELECT count(*) FROM repository').pluck().get()).toBe(1);
});

test('a newer schema is refused, and left alone', () => {
  const database = empty();
  migrate(database);
  const newer = Number(versionOf(database)) + 1;
  database.pragma(`user_version = ${newer}`);
  expect(() => migrate(database)).toThrow(IndexError);
  expect(() => migrate(database)).toThrow(expect.objectContaining({ code: 'INDEX' }));
  expect(versionOf(database)).toBe(newer);
});

test('a step that fails leaves nothing of itself', () => {
  const database = empty();
  database.exec('CREATE TABLE tag (stranger TEXT)');
  expect(() => migrate(database)).toThrow();
  expect(versionOf(database)).toBe(0);
  expect(tablesOf(database)).toEqual(['tag']);
});

test('forgetting a repository forgets its tags, links and listings', () => {
  const database = empty();
  database.pragma('foreign_keys = ON');
  migrate(database);
  database.exec(`
    INSERT INTO repository (id, registry, name) VALUES (1, 'r', 'n');
    INSERT INTO tag (repository, name, digest, upstream, checked_at, changed_at) VALUES (1, 'v1', 'd', 'u', 1, 1);
    INSERT INTO link VALUES (1, 'd', 1, 't');
    INSERT INTO listing VALUES (1, 'tags', x'00', 't', 1);
    DELETE FROM repository;
  `);
  for (const table of ['tag', 'link', 'listing']) {
    expect(database.prepare(`SELECT count(*) FROM ${table}`).pluck().get(), table).toBe(0);
  }
});
