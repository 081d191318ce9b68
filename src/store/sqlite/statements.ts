import type { Database, Statement } from 'better-sqlite3';
import type { Digest } from '../../oci/digest.ts';

/** Entries of a history that are shown: what lies further back is of no use to anyone who asks. */
const longestHistory = 1000;

/** Of each kind, what one page of a step up holds: few enough for a moment, since one that leads on is often enough. */
export const longestStep = 32;

/** What a statement that looks up one time says of each digest; those that it knows nothing of are left out. */
export function timesOf(statement: Statement, digests: readonly Digest[]): ReadonlyMap<Digest, number> {
  const times = new Map<Digest, number>();
  for (const digest of digests) {
    const at = statement.get(digest) as number | undefined;
    if (at !== undefined) times.set(digest, at);
  }
  return times;
}

/** The compiled statements. */
export type Statements = ReturnType<typeof prepareStatements>;

/** Every statement of the index, compiled once. */
export function prepareStatements(database: Database) {
  const repository = 'repository = (SELECT id FROM repository WHERE registry = ? AND name = ?)';
  const statement = (sql: string): Statement<unknown[]> => database.prepare(sql);
  return {
    repository: statement('SELECT id FROM repository WHERE registry = ? AND name = ?').pluck(),
    putRepository: statement('INSERT INTO repository (registry, name) VALUES (?, ?)'),
    tag: statement(
      `SELECT digest, checked_at, changed_at, pinned, candidate, candidate_at FROM tag
       WHERE ${repository} AND name = ?`,
    ),
    dropTag: statement('DELETE FROM tag WHERE repository = ? AND name = ?'),
    tags: statement(`SELECT name FROM tag WHERE ${repository} AND name > ? ORDER BY name LIMIT ?`).pluck(),
    putTag: statement(
      `INSERT INTO tag (repository, name, digest, upstream, checked_at, changed_at, pinned, candidate, candidate_at)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
       ON CONFLICT (repository, name) DO UPDATE SET
         digest = excluded.digest, upstream = excluded.upstream, checked_at = excluded.checked_at,
         changed_at = excluded.changed_at, pinned = excluded.pinned,
         candidate = excluded.candidate, candidate_at = excluded.candidate_at`,
    ),
    putTagDigest: statement(
      'INSERT INTO tag_digest (repository, digest, tag) VALUES (?, ?, ?) ON CONFLICT DO NOTHING',
    ),
    putTagEvent: statement(
      'INSERT INTO tag_event (repository, tag, action, old, new, upstream, at) VALUES (?, ?, ?, ?, ?, ?, ?)',
    ),
    tagHistory: statement(
      `SELECT tag, action, old, new, upstream, at FROM tag_event
       WHERE ${repository} AND tag = ? ORDER BY id DESC LIMIT ${longestHistory}`,
    ),
    history: statement(
      `SELECT tag, action, old, new, upstream, at FROM tag_event
       WHERE ${repository} ORDER BY id DESC LIMIT ${longestHistory}`,
    ),
    tagsServedAs: statement(
      `SELECT tag FROM tag_digest WHERE repository = ? AND digest = ? AND tag > ? ORDER BY tag LIMIT ${longestStep}`,
    ).pluck(),
    tagsNowServedAs: statement(
      `SELECT name FROM tag WHERE repository = ? AND digest = ? AND name > ? ORDER BY name LIMIT ${longestStep}`,
    ).pluck(),
    parents: statement(
      `SELECT parent FROM parent WHERE repository = ? AND digest = ? AND parent > ?
       ORDER BY parent LIMIT ${longestStep}`,
    ).pluck(),
    subjects: statement("SELECT digest FROM child WHERE parent = ? AND role = 'subject'").pluck(),
    listedSubjects: statement(
      `SELECT subject FROM referrer WHERE repository = ? AND digest = ? AND subject > ?
       ORDER BY subject LIMIT ${longestStep}`,
    ).pluck(),
    putParentsOf: statement(
      `INSERT INTO parent (repository, digest, parent)
       SELECT ?, digest, parent FROM child WHERE parent = ? AND role <> 'subject' ON CONFLICT DO NOTHING`,
    ),
    putParentsOfChildren: statement(
      `INSERT INTO parent (repository, digest, parent)
       SELECT ?, below.digest, below.parent FROM child
       CROSS JOIN child AS below ON below.parent = child.digest AND below.role <> 'subject'
       WHERE child.parent = ? AND child.role <> 'subject' ON CONFLICT DO NOTHING`,
    ),
    putParentsEverywhere: statement(
      `INSERT INTO parent (repository, digest, parent)
       SELECT link.repository, child.digest, child.parent FROM child
       CROSS JOIN link ON link.digest = child.parent
       WHERE child.parent = ? AND child.role <> 'subject' ON CONFLICT DO NOTHING`,
    ),
    dropParents: statement(
      `DELETE FROM parent WHERE (repository, digest, parent) IN
         (SELECT link.repository, child.digest, child.parent FROM child
          CROSS JOIN link ON link.digest = child.parent WHERE child.parent = ?)`,
    ),
    putReferrer: statement(
      'INSERT INTO referrer (repository, digest, subject) VALUES (?, ?, ?) ON CONFLICT DO NOTHING',
    ),
    examinedAt: statement(`SELECT at FROM examined WHERE ${repository} AND digest = ?`).pluck(),
    putExamined: statement(
      `INSERT INTO examined (repository, digest, at) SELECT id, ?, ? FROM repository WHERE registry = ? AND name = ?
       ON CONFLICT (repository, digest) DO UPDATE SET at = excluded.at`,
    ),
    dropExamined: statement('DELETE FROM examined'),
    manifest: statement(
      `SELECT manifest.media_type AS media_type, bytes FROM link
       JOIN manifest USING (digest) JOIN manifest_body USING (digest)
       WHERE link.digest = ? AND repository = (SELECT id FROM repository WHERE registry = ? AND name = ?)`,
    ),
    putManifest: statement(
      'INSERT INTO manifest (digest, media_type, stored_at) VALUES (?, ?, ?) ON CONFLICT (digest) DO NOTHING',
    ),
    putManifestBody: statement(
      'INSERT INTO manifest_body (digest, bytes) VALUES (?, ?) ON CONFLICT (digest) DO NOTHING',
    ),
    putChild: statement(
      `INSERT INTO child (parent, digest, role, size, media_type, platform) VALUES (?, ?, ?, ?, ?, ?)
       ON CONFLICT DO NOTHING`,
    ),
    manifests: statement('SELECT digest FROM manifest ORDER BY digest').pluck(),
    manifestBytes: statement('SELECT bytes FROM manifest_body WHERE digest = ?').pluck(),
    dropManifest: statement('DELETE FROM manifest WHERE digest = ?'),
    children: statement('SELECT digest, role, size, media_type, platform FROM child WHERE parent = ?'),
    listedReferrers: statement(`SELECT digest FROM referrer WHERE ${repository} AND subject = ?`).pluck(),
    ownReferrers: statement(
      `SELECT child.parent FROM child CROSS JOIN link ON link.digest = child.parent AND link.${repository}
       WHERE child.digest = ? AND child.role = 'subject'`,
    ).pluck(),
    repositories: statement('SELECT registry, name AS repository FROM repository ORDER BY registry, name'),
    manifestStoredAt: statement('SELECT stored_at FROM manifest WHERE digest = ?').pluck(),
    blobStoredAt: statement('SELECT stored_at FROM blob WHERE digest = ?').pluck(),
    link: statement(
      `SELECT size, media_type FROM link WHERE digest = ?
       AND repository = (SELECT id FROM repository WHERE registry = ? AND name = ?)`,
    ),
    putLink: statement(
      `INSERT INTO link (repository, digest, size, media_type) VALUES (?, ?, ?, ?)
       ON CONFLICT (repository, digest) DO UPDATE SET
         size = coalesce(excluded.size, size), media_type = coalesce(excluded.media_type, media_type)`,
    ),
    putBlob: statement(
      'INSERT INTO blob (digest, size, stored_at) VALUES (?, ?, ?) ON CONFLICT (digest) DO NOTHING',
    ),
    blobs: statement('SELECT digest, size, stored_at FROM blob ORDER BY digest'),
    dropBlob: statement('DELETE FROM blob WHERE digest = ?'),
    blob: statement('SELECT digest, size, stored_at FROM blob WHERE digest = ?'),
    intendBlob: statement(
      `INSERT INTO intended_blob (digest, size) VALUES (?, ?)
       ON CONFLICT (digest) DO UPDATE SET size = excluded.size`,
    ),
    intendedBlobs: statement('SELECT digest, size FROM intended_blob'),
    dropIntendedBlob: statement('DELETE FROM intended_blob WHERE digest = ?'),
    listing: statement(`SELECT body, media_type, checked_at FROM listing WHERE ${repository} AND name = ?`),
    putListing: statement(
      `INSERT INTO listing (repository, name, body, media_type, checked_at) VALUES (?, ?, ?, ?, ?)
       ON CONFLICT (repository, name) DO UPDATE SET
         body = excluded.body, media_type = excluded.media_type, checked_at = excluded.checked_at`,
    ),
    dropListing: statement(`DELETE FROM listing WHERE ${repository} AND name = ?`),
    upstreams: statement('SELECT registry, name, snapshot FROM upstream'),
    dropUpstreams: statement('DELETE FROM upstream'),
    putUpstream: statement('INSERT INTO upstream (registry, name, snapshot) VALUES (?, ?, ?)'),
    syncRuns: statement(
      'SELECT entry, started_at, ended_at, report FROM sync_run WHERE entry = ? ORDER BY id DESC',
    ),
    putSyncRun: statement('INSERT INTO sync_run (entry, started_at, ended_at, report) VALUES (?, ?, ?, ?)'),
    dropSyncRuns: statement(
      `DELETE FROM sync_run WHERE entry = @entry AND id NOT IN
         (SELECT id FROM sync_run WHERE entry = @entry ORDER BY id DESC LIMIT @kept)`,
    ),
    pulledManifest: statement('UPDATE manifest SET pulled_at = ? WHERE digest = ?'),
    pulledBlob: statement('UPDATE blob SET pulled_at = ? WHERE digest = ?'),
    pulledTag: statement(`UPDATE tag SET pulled_at = ? WHERE ${repository} AND name = ?`),
  };
}
