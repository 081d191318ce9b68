import { mkdirSync } from 'node:fs';
import path from 'node:path';
import SqliteDatabase, { type Database } from 'better-sqlite3';
import type { Digest } from '../../oci/digest.ts';
import type { ManifestMediaType } from '../../oci/media-types.ts';
import type { Tag } from '../../oci/reference.ts';
import type {
  ChildLink,
  FoundBy,
  ImportedManifest,
  Lead,
  Link,
  Metadata,
  PullRecord,
  RepositoryKey,
  StoredBlob,
  StoredListing,
  StoredManifest,
  SyncRunRecord,
  TagEvent,
  TagRecord,
  TagSighting,
  UpstreamRecord,
} from '../metadata.ts';
import * as contents from './contents.ts';
import { IndexError, migrate } from './migrations.ts';
import { prepareStatements, type Statements } from './statements.ts';
import { putSyncRun, syncRuns } from './sync-runs.ts';
import * as tags from './tags.ts';

type LeadRow = { tag: Tag | null; digest: Digest; noted: string };
type ManifestRow = { media_type: ManifestMediaType; bytes: Buffer };
type LinkRow = { size: number | null; media_type: string | null };
type ListingRow = { body: Buffer; media_type: string; checked_at: number };

/** {@link Metadata} in one SQLite file in WAL mode. Statements are short, so they run on the calling thread. */
export class SqliteMetadata implements Metadata {
  readonly #database: Database;
  readonly #statements: Statements;

  private constructor(database: Database) {
    this.#database = database;
    this.#statements = prepareStatements(database);
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
    return tags.tagRecord(this.#statements, key, tag);
  }

  async observeTag(key: RepositoryKey, tag: Tag, seen: TagSighting): Promise<TagEvent | undefined> {
    return this.#database.transaction(() => tags.observeTag(this.#statements, key, tag, seen))();
  }

  async setTag(
    key: RepositoryKey,
    tag: Tag,
    to: { digest: Digest; action: 'locked' | 'rolled back'; at: number },
  ): Promise<boolean> {
    return this.#database.transaction(() => tags.setTag(this.#statements, key, tag, to))();
  }

  async releaseTag(key: RepositoryKey, tag: Tag, at: number): Promise<boolean> {
    return this.#database.transaction(() => tags.releaseTag(this.#statements, key, tag, at))();
  }

  async tagHistory(key: RepositoryKey, tag: Tag | undefined): Promise<readonly TagEvent[]> {
    return tags.tagHistory(this.#statements, key, tag);
  }

  async leadsTo(
    key: RepositoryKey,
    digest: Digest,
    { current, noted = [] }: { readonly current: boolean; readonly noted?: readonly string[] },
  ): Promise<readonly Lead[]> {
    const statement = current ? this.#statements.currentLeads : this.#statements.leads;
    const rows = statement.all(key.registry, key.repository, JSON.stringify(noted), digest) as LeadRow[];
    return rows.map(({ tag, digest: from, noted: on }) => ({
      tag: tag ?? undefined,
      from,
      noted: on.split(' ').filter((each) => each !== '') as Digest[],
    }));
  }

  async putReferrers(key: RepositoryKey, subject: Digest, referrers: readonly Digest[]): Promise<void> {
    this.#database.transaction(() => {
      const repository = tags.repositoryId(this.#statements, key);
      for (const digest of referrers) this.#statements.putReferrer.run(repository, digest, subject);
    })();
  }

  async examinedAt({ registry, repository }: RepositoryKey, digest: Digest): Promise<number | undefined> {
    return this.#statements.examinedAt.get(registry, repository, digest) as number | undefined;
  }

  async putExamined({ registry, repository }: RepositoryKey, digest: Digest, at: number): Promise<boolean> {
    return this.#statements.putExamined.run(digest, at, registry, repository).changes > 0;
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
    { tag, upstream, at }: FoundBy,
  ): Promise<TagEvent | undefined> {
    return this.#database.transaction(() => {
      contents.putManifest(this.#statements, key, manifest, children, at);
      if (tag === undefined) return undefined;
      return tags.putTag(this.#statements, key, tag, { digest: manifest.digest, upstream, at });
    })();
  }

  async importManifests(entries: readonly ImportedManifest[]): Promise<readonly TagEvent[]> {
    return this.#database.transaction(() => contents.importManifests(this.#statements, entries))();
  }

  async children(digest: Digest): Promise<readonly ChildLink[]> {
    return contents.children(this.#statements, digest);
  }

  async referrersOf(key: RepositoryKey, subject: Digest): Promise<readonly Digest[]> {
    return contents.referrersOf(this.#statements, key, subject);
  }

  async repositories(): Promise<readonly RepositoryKey[]> {
    return this.#statements.repositories.all() as RepositoryKey[];
  }

  async storedAt(digests: readonly Digest[]): Promise<ReadonlyMap<Digest, number>> {
    return contents.storedAt(this.#statements, digests);
  }

  async manifestsStored(): Promise<readonly Digest[]> {
    return this.#statements.manifests.all() as Digest[];
  }

  async manifestBytes(digest: Digest): Promise<Buffer | undefined> {
    return this.#statements.manifestBytes.get(digest) as Buffer | undefined;
  }

  async dropManifest(digest: Digest): Promise<void> {
    this.#database.transaction(() => {
      this.#statements.dropManifest.run(digest);
      this.#statements.dropExamined.run();
    })();
  }

  async link(key: RepositoryKey, digest: Digest): Promise<Link | undefined> {
    const row = this.#statements.link.get(digest, key.registry, key.repository) as LinkRow | undefined;
    return row && { size: row.size ?? undefined, mediaType: row.media_type ?? undefined };
  }

  async putLink(key: RepositoryKey, digest: Digest, size: number | undefined): Promise<void> {
    this.#database.transaction(() => {
      this.#statements.putLink.run(tags.repositoryId(this.#statements, key), digest, size ?? null, null);
    })();
  }

  async putBlob(digest: Digest, size: number, at: number): Promise<void> {
    this.#statements.putBlob.run(digest, size, at);
  }

  async blobsStored(): Promise<readonly StoredBlob[]> {
    return contents.blobsStored(this.#statements);
  }

  async dropBlob(digest: Digest): Promise<void> {
    this.#statements.dropBlob.run(digest);
  }

  async listing(key: RepositoryKey, name: string): Promise<StoredListing | undefined> {
    const row = this.#statements.listing.get(key.registry, key.repository, name) as ListingRow | undefined;
    return row && { body: row.body, mediaType: row.media_type, checkedAt: row.checked_at };
  }

  async putListing(key: RepositoryKey, name: string, listing: StoredListing): Promise<void> {
    this.#database.transaction(() => {
      const { body, mediaType, checkedAt } = listing;
      this.#statements.putListing.run(
        tags.repositoryId(this.#statements, key),
        name,
        body,
        mediaType,
        checkedAt,
      );
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

  async syncRuns(entry: string): Promise<readonly SyncRunRecord[]> {
    return syncRuns(this.#statements, entry);
  }

  async putSyncRun(run: SyncRunRecord): Promise<void> {
    this.#database.transaction(() => putSyncRun(this.#statements, run))();
  }

  async close(): Promise<void> {
    this.#database.close();
  }
}
