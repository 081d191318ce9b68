/**
 * The schema that `user_version` 5 names, as the entrepot of that time made it. An index is generated with it whatever
 * code is measured: the code brings the index to its own schema.
 */
export const schema5 = `
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
    pinned INTEGER NOT NULL DEFAULT 0,
    candidate TEXT,
    candidate_at INTEGER,
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
  CREATE TABLE upstream (
    registry TEXT NOT NULL,
    name TEXT NOT NULL,
    snapshot TEXT NOT NULL,
    PRIMARY KEY (registry, name)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE tag_digest (
    repository INTEGER NOT NULL REFERENCES repository (id) ON DELETE CASCADE,
    digest TEXT NOT NULL,
    tag TEXT NOT NULL,
    PRIMARY KEY (repository, digest, tag)
  ) STRICT, WITHOUT ROWID;
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
  CREATE TABLE sync_run (
    id INTEGER PRIMARY KEY,
    entry TEXT NOT NULL,
    started_at INTEGER NOT NULL,
    ended_at INTEGER NOT NULL,
    report TEXT NOT NULL
  ) STRICT;
  CREATE INDEX sync_run_by_entry ON sync_run (entry, id);
  CREATE TABLE examined (
    repository INTEGER NOT NULL REFERENCES repository (id) ON DELETE CASCADE,
    digest TEXT NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (repository, digest)
  ) STRICT, WITHOUT ROWID;
`;
