import type { Digest } from '../../oci/digest.ts';
import type { BlobRecords, StoredBlob } from '../blob-records.ts';
import { type Statements, timesOf } from './statements.ts';

type BlobRow = { digest: Digest; size: number; stored_at: number };

/** {@link BlobRecords} in SQLite. */
export class SqliteBlobs implements BlobRecords {
  readonly #statements: Statements;

  constructor(deps: { statements: Statements }) {
    this.#statements = deps.statements;
  }

  async put(digest: Digest, size: number, at: number): Promise<void> {
    this.#statements.putBlob.run(digest, size, at);
  }

  async drop(digest: Digest): Promise<void> {
    this.#statements.dropBlob.run(digest);
  }

  async all(): Promise<readonly StoredBlob[]> {
    const rows = this.#statements.blobs.all() as BlobRow[];
    return rows.map(({ digest, size, stored_at }) => ({ digest, size, storedAt: stored_at }));
  }

  async storedAt(digests: readonly Digest[]): Promise<ReadonlyMap<Digest, number>> {
    return timesOf(this.#statements.blobStoredAt, digests);
  }
}
