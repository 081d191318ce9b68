import type { Database } from 'better-sqlite3';
import type { RepositoryKey } from '../../oci/repository-key.ts';
import type { ListingRecords, StoredListing } from '../listing-records.ts';
import type { Statements } from './statements.ts';
import { repositoryId } from './tag-rows.ts';

type ListingRow = { body: Buffer; media_type: string; checked_at: number };

/** {@link ListingRecords} in SQLite. */
export class SqliteListings implements ListingRecords {
  readonly #database: Database;
  readonly #statements: Statements;

  constructor(deps: { database: Database; statements: Statements }) {
    this.#database = deps.database;
    this.#statements = deps.statements;
  }

  async get(key: RepositoryKey, name: string): Promise<StoredListing | undefined> {
    const row = this.#statements.listing.get(key.registry, key.repository, name) as ListingRow | undefined;
    return row && { body: row.body, mediaType: row.media_type, checkedAt: row.checked_at };
  }

  async put(key: RepositoryKey, name: string, { body, mediaType, checkedAt }: StoredListing): Promise<void> {
    const s = this.#statements;
    this.#database.transaction(() => {
      s.putListing.run(repositoryId(s, key), name, body, mediaType, checkedAt);
    })();
  }

  async drop(key: RepositoryKey, name: string): Promise<void> {
    this.#statements.dropListing.run(key.registry, key.repository, name);
  }
}
