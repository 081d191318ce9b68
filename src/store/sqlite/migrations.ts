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
  `
  ALTER TABLE tag ADD COLUMN pinned INTEGER NOT NULL DEFAULT 0;
  ALTER TABLE tag ADD COLUMN candidate TEXT;
  ALTER TABLE tag ADD COLUMN candidate_at INTEGER;

  CREATE TABLE tag_digest (
    repository INTEGER NOT NULL REFERENCES repository (id) ON DELETE CASCADE,
    digest TEXT NOT NULL,
    tag TEXT NOT NULL,
    PRIMARY KEY (repository, digest, tag)
  ) STRICT, WITHOUT ROWID;
  INSERT INTO tag_digest (repository, digest, tag) SELECT repository, digest, name FROM tag;

  CREATE TABLE tag_event (
    id INTEGER PRIMARY KEY,
    repository INTEGER NOT NULL REFERENCES repository (id) ON DELETE CASCADE,
    tag TEXT NOT NULL,
    action TEXT NOT NULL,
    old TEXT,
    new TEXT NOT NULL,
    upstream TEXT NOT NULL,
    at INTEGER NOT NULL
  ) STRICT;
  CREATE INDEX tag_event_by_tag ON tag_event (repository, tag, id);

  CREATE TABLE referrer (
    repository INTEGER NOT NULL REFERENCES repository (id) ON DELETE CASCADE,
    digest TEXT NOT NULL,
    subject TEXT NOT NULL,
    PRIMARY KEY (repository, digest, subject)
  ) STRICT, WITHOUT ROWID;
  `,
  `
  CREATE TABLE sync_run (
    id INTEGER PRIMARY KEY,
    entry TEXT NOT NULL,
    started_at INTEGER NOT NULL,
    ended_at INTEGER NOT NULL,
    report TEXT NOT NULL
  ) STRICT;
  CREATE INDEX sync_run_by_entry ON sync_run (entry, id);
  `,
  `
  CREATE TABLE examined (
    repository INTEGER NOT NULL REFERENCES repository (id) ON DELETE CASCADE,
    digest TEXT NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (repository, digest)
  ) STRICT, WITHOUT ROWID;
  `,
  `
  CREATE TABLE intended_blob (
    digest TEXT PRIMARY KEY,
    size INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID;
  `,
  `
  CREATE TABLE manifest_body (
    digest TEXT PRIMARY KEY REFERENCES manifest (digest) ON DELETE CASCADE,
    bytes BLOB NOT NULL
  ) STRICT;
  INSERT INTO manifest_body (digest, bytes) SELECT digest, bytes FROM manifest;
  ALTER TABLE manifest DROP COLUMN bytes;

  CREATE TABLE parent (
    repository INTEGER NOT NULL REFERENCES repository (id) ON DELETE CASCADE,
    digest TEXT NOT NULL,
    parent TEXT NOT NULL,
    PRIMARY KEY (repository, digest, parent)
  ) STRICT, WITHOUT ROWID;
  INSERT INTO parent (repository, digest, parent)
    SELECT link.repository, child.digest, child.parent FROM child JOIN link ON link.digest = child.parent
    WHERE child.role <> 'subject' GROUP BY 1, 2, 3;
  CREATE INDEX child_subject ON child (parent) WHERE role = 'subject';
  CREATE INDEX child_by_subject ON child (digest) WHERE role = 'subject';

  CREATE INDEX tag_by_digest ON tag (repository, digest);
  CREATE INDEX tag_event_by_repository ON tag_event (repository);
  CREATE INDEX referrer_by_subject ON referrer (repository, subject);

  CREATE TABLE kept_listing (
    repository INTEGER NOT NULL REFERENCES repository (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    media_type TEXT NOT NULL,
    checked_at INTEGER NOT NULL,
    body BLOB NOT NULL,
    PRIMARY KEY (repository, name)
  ) STRICT;
  INSERT INTO kept_listing (repository, name, media_type, checked_at, body)
    SELECT repository, name, media_type, checked_at, body FROM listing;
  DROP TABLE listing;
  ALTER TABLE kept_listing RENAME TO listing;
  CREATE INDEX listing_by_age ON listing (checked_at);
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
