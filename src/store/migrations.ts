import type { Database } from 'better-sqlite3';

/**
 * The schema's history: entry `n` brings an index of `user_version` n to n + 1. Entries are only ever added.
 */
const migrations: readonly string[] = [
  `
  CREATE TABLE repository (
    id INTEGER PRIMARY KEY,
    registry TEXT NOT NULL,
    name TEXT NOT NULL,
    UNIQUE (registry, name)
  ) STRICT;

  CREATE TABLE manifest (
    digest TEXT PRIMARY KEY,
    media_type TEXT NOT NULL,
    bytes BLOB NOT NULL,
    stored_at INTEGER NOT NULL,
    pulled_at INTEGER
  ) STRICT, WITHOUT ROWID;

  CREATE TABLE blob (
    digest TEXT PRIMARY KEY,
    size INTEGER NOT NULL,
    stored_at INTEGER NOT NULL,
    pulled_at INTEGER
  ) STRICT, WITHOUT ROWID;

  CREATE TABLE tag (
    repository INTEGER NOT NULL REFERENCES repository (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    digest TEXT NOT NULL,
    upstream TEXT NOT NULL,
    checked_at INTEGER NOT NULL,
    changed_at INTEGER NOT NULL,
    pulled_at INTEGER,
    PRIMARY KEY (repository, name)
  ) STRICT, WITHOUT ROWID;

  CREATE TABLE link (
    repository INTEGER NOT NULL REFERENCES repository (id) ON DELETE CASCADE,
    digest TEXT NOT NULL,
    size INTEGER,
    media_type TEXT,
    PRIMARY KEY (repository, digest)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX link_by_digest ON link (digest);

  CREATE TABLE child (
    parent TEXT NOT NULL REFERENCES manifest (digest) ON DELETE CASCADE,
    digest TEXT NOT NULL,
    role TEXT NOT NULL,
    size INTEGER NOT NULL,
    media_type TEXT NOT NULL,
    platform TEXT,
    PRIMARY KEY (parent, digest, role)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX child_by_digest ON child (digest);

  CREATE TABLE listing (
    repository INTEGER NOT NULL REFERENCES repository (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    body BLOB NOT NULL,
    media_type TEXT NOT NULL,
    checked_at INTEGER NOT NULL,
    PRIMARY KEY (repository, name)
  ) STRICT, WITHOUT ROWID;
  `,
  `
  CREATE TABLE upstream (
    registry TEXT NOT NULL,
    name TEXT NOT NULL,
    snapshot TEXT NOT NULL,
    PRIMARY KEY (registry, name)
  ) STRICT, WITHOUT ROWID;
  `,
];

/** An index that this version cannot use; the message says what to do. */
export class IndexError extends Error {
  readonly code = 'INDEX';
}

/**
 * Brings an index to the newest schema, each step in one transaction.
 * @throws IndexError when a newer version of entrepot wrote it
 */
export function migrate(database: Database): void {
  const version = database.pragma('user_version', { simple: true }) as number;
  if (version > migrations.length) {
    throw new IndexError(
      `the index has schema ${version}, this entrepot knows ${migrations.length}: start the newer version that wrote it`,
    );
  }
  migrations.slice(version).forEach((step, offset) => {
    database.transaction(() => {
      database.exec(step);
      database.pragma(`user_version = ${version + offset + 1}`);
    })();
  });
}
