import type { Database } from 'better-sqlite3';
import type { Digest } from '../../oci/digest.ts';
import type { RepositoryKey } from '../../oci/repository-key.ts';
import type { BlobRecords, IntendedBlob, StoredBlob } from '../blob-records.ts';
import { type Statements, timesOf } from './statements.ts';
import { repositoryId } from './tag-rows.ts';

type BlobRow = { digest: Digest; size: number; stored_at: number };

/** {@link BlobRecords} in SQLite. */
export class SqliteBlobs implements BlobRecords {
  readonly #database: Database;
  readonly #statements: Statements;

  constructor(deps: { database: Database; statements: Statements }) {
    this.#database = deps.database;
    this.#statements = deps.statements;
  }

  async get(digest: Digest): Promise<StoredBlob | undefined> {
    const row = this.#statements.blob.get(digest) as BlobRow | undefined;
    return row && blobOf(row);
  }

  async intend(digest: Digest, size: number): Promise<void> {
    this.#statements.intendBlob.run(digest, size);
  }

  async intended(): Promise<readonly IntendedBlob[]> {
    return this.#statements.intendedBlobs.all() as IntendedBlob[];
  }

  async put(digest: Digest, size: number, at: number, reader?: RepositoryKey): Promise<void> {
    const s = this.#statements;
    this.#database.transaction(() => {
      s.dropIntendedBlob.run(digest);
      s.putBlob.run(digest, size, at);
      if (reader === undefined) return;
      const repository = repositoryId(s, reader);
      s.putLink.run(repository, digest, size, null);
      s.putParentsOf.run(repository, digest);
    })();
  }

  async drop(digest: Digest): Promise<void> {
    const s = this.#statements;
    this.#database.transaction(() => {
      s.dropIntendedBlob.run(digest);
      s.dropBlob.run(digest);
    })();
  }

  async all(): Promise<readonly StoredBlob[]> {
    return (this.#statements.blobs.all() as BlobRow[]).map(blobOf);
  }

  async storedAt(digests: readonly Digest[]): Promise<ReadonlyMap<Digest, number>> {
    return timesOf(this.#statements.blobStoredAt, digests);
  }
}

function blobOf({ digest, size, stored_at: storedAt }: BlobRow): StoredBlob {
  return { digest, size, storedAt };
}
