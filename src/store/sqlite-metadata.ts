import { mkdirSync } from 'node:fs';
import path from 'node:path';
import SqliteDatabase, { type Database, type Statement } from 'better-sqlite3';
import type { Digest } from '../oci/digest.ts';
import type { ManifestMediaType } from '../oci/media-types.ts';
import type { Tag } from '../oci/reference.ts';
import type {
  ChildLink,
  Link,
  Metadata,
  PullRecord,
  RepositoryKey,
  StoredListing,
  StoredManifest,
  TagRecord,
  UpstreamRecord,
} from './metadata.ts';
import { IndexError, migrate } from './migrations.ts';

type TagRow = { digest: Digest; checked_at: number; changed_at: number };
type ManifestRow = { media_type: ManifestMediaType; bytes: Buffer };
type LinkRow = { size: number | null; media_type: string | null };
type ListingRow = { body: Buffer; media_type: string; checked_at: number };

/** {@link Metadata} in one SQLite file in WAL mode. Statements are short, so they run on the calling thread. */
export class SqliteMetadata implements Metadata {
  readonly #database: Database;
  readonly #statements: Statements;

  private constructor(database: Database) {
    this.#database = database;
    this.#statements = prepare(database);
  }

  /**
   * Opens the index at `file`, made if absent, and holds it exclusively until closed.
   * @throws IndexError when another process holds it, or a newer version wrote it
   */
  static open(file: string): SqliteMetadata {
    mkdirSync(path.dirname(file), { recursive: true });
    const database = new SqliteDatabase(file, { timeout: 1000 });
    try {
      database.pragma('locking_mode = EXCLUSIVE');
      database.pragma('journal_mode = WAL');
      database.pragma('synchronous = NORMAL');
      database.pragma('foreign_keys = ON');
      database.pragma('cache_size = -8000');
      migrate(database);
      return new SqliteMetadata(database);
    } catch (cause) {
      database.close();
      if ((cause as { code?: string }).code === 'SQLITE_BUSY') {
        throw new IndexError(`another entrepot uses the storage in ${path.dirname(file)}`, { cause });
      }
      throw cause;
    }
  }

  async tag(key: RepositoryKey, tag: Tag): Promise<TagRecord | undefined> {
    const row = this.#statements.tag.get(key.registry, key.repository, tag) as TagRow | undefined;
    return row && { digest: row.digest, checkedAt: row.checked_at, changedAt: row.changed_at };
  }

  async touchTag(key: RepositoryKey, tag: Tag, checkedAt: number): Promise<void> {
    this.#statements.touchTag.run(checkedAt, key.registry, key.repository, tag);
  }

  async dropTag(key: RepositoryKey, tag: Tag): Promise<void> {
    this.#statements.dropTag.run(key.registry, key.repository, tag);
  }

  async tags(key: RepositoryKey): Promise<readonly string[]> {
    return this.#statements.tags.all(key.registry, key.repository) as string[];
  }

  async manifest(key: RepositoryKey, digest: Digest): Promise<StoredManifest | undefined> {
    const row = this.#statements.manifest.get(digest, key.registry, key.repository) as
      | ManifestRow
      | undefined;
    return row && { digest, mediaType: row.media_type, bytes: row.bytes };
  }

  async putManifest(
    key: RepositoryKey,
    manifest: StoredManifest,
    children: readonly ChildLink[],
    found: { readonly tag: Tag | undefined; readonly upstream: string; readonly at: number },
  ): Promise<void> {
    const s = this.#statements;
    this.#database.transaction(() => {
      const repository = this.#repository(key);
      const { digest, mediaType, bytes } = manifest;
      s.putManifest.run(digest, mediaType, bytes, found.at);
      s.putLink.run(repository, digest, bytes.length, mediaType);
      for (const child of children) {
        s.putChild.run(digest, child.digest, child.role, child.size, child.mediaType, child.platform ?? null);
        if (child.role !== 'subject') s.putLink.run(repository, child.digest, child.size, child.mediaType);
      }
      if (found.tag !== undefined) {
        s.putTag.run(repository, found.tag, digest, found.upstream, found.at, found.at);
      }
    })();
  }

  async link(key: RepositoryKey, digest: Digest): Promise<Link | undefined> {
    const row = this.#statements.link.get(digest, key.registry, key.repository) as LinkRow | undefined;
    return row && { size: row.size ?? undefined, mediaType: row.media_type ?? undefined };
  }

  async putLink(key: RepositoryKey, digest: Digest, size: number | undefined): Promise<void> {
    this.#database.transaction(() => {
      this.#statements.putLink.run(this.#repository(key), digest, size ?? null, null);
    })();
  }

  async putBlob(digest: Digest, size: number, at: number): Promise<void> {
    this.#statements.putBlob.run(digest, size, at);
  }

  async listing(key: RepositoryKey, name: string): Promise<StoredListing | undefined> {
    const row = this.#statements.listing.get(key.registry, key.repository, name) as ListingRow | undefined;
    return row && { body: row.body, mediaType: row.media_type, checkedAt: row.checked_at };
  }

  async putListing(key: RepositoryKey, name: string, listing: StoredListing): Promise<void> {
    this.#database.transaction(() => {
      const { body, mediaType, checkedAt } = listing;
      this.#statements.putListing.run(this.#repository(key), name, body, mediaType, checkedAt);
    })();
  }

  async dropListing(key: RepositoryKey, name: string): Promise<void> {
    this.#statements.dropListing.run(key.registry, key.repository, name);
  }

  async recordPulls(pulls: readonly PullRecord[]): Promise<void> {
    const s = this.#statements;
    this.#database.transaction(() => {
      for (const { registry, repository, digest, tag, at } of pulls) {
        s.pulledManifest.run(at, digest);
        s.pulledBlob.run(at, digest);
        if (tag !== undefined) s.pulledTag.run(at, registry, repository, tag);
      }
    })();
  }

  async upstreamHealth(): Promise<readonly UpstreamRecord[]> {
    const rows = this.#statements.upstreams.all() as { registry: string; name: string; snapshot: string }[];
    return rows.map(({ registry, name, snapshot }) => ({
      registry,
      upstream: name,
      snapshot: JSON.parse(snapshot),
    }));
  }

  async putUpstreamHealth(records: readonly UpstreamRecord[]): Promise<void> {
    const s = this.#statements;
    this.#database.transaction(() => {
      s.dropUpstreams.run();
      for (const { registry, upstream, snapshot } of records) {
        s.putUpstream.run(registry, upstream, JSON.stringify(snapshot));
      }
    })();
  }

  async close(): Promise<void> {
    this.#database.close();
  }

  #repository({ registry, repository }: RepositoryKey): number | bigint {
    const id = this.#statements.repository.get(registry, repository) as number | undefined;
    return id ?? this.#statements.putRepository.run(registry, repository).lastInsertRowid;
  }
}

type Statements = ReturnType<typeof prepare>;

function prepare(database: Database) {
  const repository = 'repository = (SELECT id FROM repository WHERE registry = ? AND name = ?)';
  const statement = (sql: string): Statement<unknown[]> => database.prepare(sql);
  return {
    repository: statement('SELECT id FROM repository WHERE registry = ? AND name = ?').pluck(),
    putRepository: statement('INSERT INTO repository (registry, name) VALUES (?, ?)'),
    tag: statement(`SELECT digest, checked_at, changed_at FROM tag WHERE ${repository} AND name = ?`),
    touchTag: statement(`UPDATE tag SET checked_at = ? WHERE ${repository} AND name = ?`),
    dropTag: statement(`DELETE FROM tag WHERE ${repository} AND name = ?`),
    tags: statement(`SELECT name FROM tag WHERE ${repository} ORDER BY name`).pluck(),
    putTag: statement(
      `INSERT INTO tag (repository, name, digest, upstream, checked_at, changed_at) VALUES (?, ?, ?, ?, ?, ?)
       ON CONFLICT (repository, name) DO UPDATE SET
         changed_at = iif(digest = excluded.digest, changed_at, excluded.changed_at),
         digest = excluded.digest, upstream = excluded.upstream, checked_at = excluded.checked_at`,
    ),
    manifest: statement(
      `SELECT manifest.media_type AS media_type, bytes FROM manifest JOIN link USING (digest)
       WHERE digest = ? AND repository = (SELECT id FROM repository WHERE registry = ? AND name = ?)`,
    ),
    putManifest: statement(
      `INSERT INTO manifest (digest, media_type, bytes, stored_at) VALUES (?, ?, ?, ?)
       ON CONFLICT (digest) DO NOTHING`,
    ),
    putChild: statement(
      `INSERT INTO child (parent, digest, role, size, media_type, platform) VALUES (?, ?, ?, ?, ?, ?)
       ON CONFLICT DO NOTHING`,
    ),
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
    pulledManifest: statement('UPDATE manifest SET pulled_at = ? WHERE digest = ?'),
    pulledBlob: statement('UPDATE blob SET pulled_at = ? WHERE digest = ?'),
    pulledTag: statement(`UPDATE tag SET pulled_at = ? WHERE ${repository} AND name = ?`),
  };
}
