import SqliteDatabase, { type Database } from 'better-sqlite3';
import { expect, onTestFinished, test } from 'vitest';
import { generateIndex, shortSize } from '../../../bench/index/generate.ts';
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
    INSERT INTO listing (repository, name, body, media_type, checked_at) VALUES (1, 'tags', x'00', 't', 1);
    INSERT INTO parent VALUES (1, 'd', 'p');
    DELETE FROM repository;
  `);
  for (const table of ['tag', 'link', 'listing', 'parent']) {
    expect(database.prepare(`SELECT count(*) FROM ${table}`).pluck().get(), table).toBe(0);
  }
});

/** Every row of the tables that an index of schema 5 has, as they are read by whoever knows the newest schema. */
function contentOf(database: Database, bodies: string): unknown {
  const rows = (sql: string) => database.prepare(sql).all();
  const tables = ['repository', 'blob', 'child', 'link', 'tag_digest', 'tag_event', 'referrer'];
  return {
    bodies: rows(`SELECT digest, media_type, bytes, stored_at, pulled_at FROM ${bodies} ORDER BY digest`),
    tags: rows('SELECT * FROM tag ORDER BY repository, name'),
    listings: rows('SELECT name, body, media_type, checked_at FROM listing ORDER BY repository, name'),
    others: tables.map((table) => rows(`SELECT * FROM ${table} ORDER BY 1, 2, 3`)),
  };
}

test('an index of schema 5 keeps all that it holds, and becomes like one that was made anew', () => {
  const database = empty();
  const size = { ...shortSize, images: 120, repositories: 6, small: 20, big: 40, vouched: 10, referrers: 30 };
  generateIndex(database, { ...size, moving: { images: 10, tags: 3, events: 50 } });
  database.exec('UPDATE manifest SET pulled_at = 7 WHERE digest IN (SELECT digest FROM manifest LIMIT 5)');
  const before = contentOf(database, 'manifest');
  migrate(database);
  expect(contentOf(database, 'manifest JOIN manifest_body USING (digest)')).toEqual(before);
  const parents = database.prepare('SELECT repository, digest, parent FROM parent ORDER BY 1, 2, 3').all();
  expect(parents.length).toBeGreaterThan(800);
  expect(parents).toEqual(
    database
      .prepare(
        `SELECT DISTINCT link.repository, child.digest, child.parent FROM child, link
         WHERE link.digest = child.parent AND child.role <> 'subject' ORDER BY 1, 2, 3`,
      )
      .all(),
  );
  expect(database.pragma('foreign_key_check')).toEqual([]);
  expect(database.pragma('integrity_check')).toEqual([{ integrity_check: 'ok' }]);
  const fresh = empty();
  migrate(fresh);
  const schemaOf = (each: Database) =>
    each
      .prepare<[], { sql: string | null }>(
        'SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY name',
      )
      .all()
      .map((row) => ({ ...row, sql: row.sql?.replaceAll(/\s+/g, ' ') }));
  expect(schemaOf(database)).toEqual(schemaOf(fresh));
});
