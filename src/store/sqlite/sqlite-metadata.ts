import { mkdirSync } from 'node:fs';
import path from 'node:path';
import SqliteDatabase, { type Database } from 'better-sqlite3';
import type { Metadata } from '../metadata.ts';
import { IndexError, migrate } from './migrations.ts';
import { SqliteBlobs } from './sqlite-blobs.ts';
import { SqliteJournal } from './sqlite-journal.ts';
import { SqliteLinks } from './sqlite-links.ts';
import { SqliteListings } from './sqlite-listings.ts';
import { SqliteManifests } from './sqlite-manifests.ts';
import { SqliteTags } from './sqlite-tags.ts';
import { prepareStatements } from './statements.ts';

/** {@link Metadata} in one SQLite file in WAL mode. Statements are short, so they run on the calling thread. */
export class SqliteMetadata implements Metadata {
  readonly tags: SqliteTags;
  readonly manifests: SqliteManifests;
  readonly links: SqliteLinks;
  readonly blobs: SqliteBlobs;
  readonly listings: SqliteListings;
  readonly journal: SqliteJournal;
  readonly #database: Database;

  private constructor(database: Database) {
    this.#database = database;
    const deps = { database, statements: prepareStatements(database) };
    this.tags = new SqliteTags(deps);
    this.manifests = new SqliteManifests(deps);
    this.links = new SqliteLinks(deps);
    this.blobs = new SqliteBlobs(deps);
    this.listings = new SqliteListings(deps);
    this.journal = new SqliteJournal(deps);
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

  async close(): Promise<void> {
    this.#database.close();
  }
}
