import type { Database } from 'better-sqlite3';
import type { Digest } from '../../oci/digest.ts';
import type { ManifestMediaType } from '../../oci/media-types.ts';
import type { RepositoryKey } from '../../oci/repository-key.ts';
import type {
  ChildLink,
  FoundBy,
  ImportedManifest,
  ImportedTag,
  LinkRole,
  ManifestRecords,
  StoredManifest,
} from '../manifest-records.ts';
import type { TagEvent } from '../tag-records.ts';
import { type Statements, timesOf } from './statements.ts';
import { repositoryId, stepTag } from './tag-rows.ts';

type ChildRow = { digest: Digest; role: LinkRole; size: number; media_type: string; platform: string | null };
type ManifestRow = { media_type: ManifestMediaType; bytes: Buffer };

/** {@link ManifestRecords} in SQLite. */
export class SqliteManifests implements ManifestRecords {
  readonly #database: Database;
  readonly #statements: Statements;

  constructor(deps: { database: Database; statements: Statements }) {
    this.#database = deps.database;
    this.#statements = deps.statements;
  }

  async get(key: RepositoryKey, digest: Digest): Promise<StoredManifest | undefined> {
    const row = this.#statements.manifest.get(digest, key.registry, key.repository) as
      | ManifestRow
      | undefined;
    return row && { digest, mediaType: row.media_type, bytes: row.bytes };
  }

  async bytes(digest: Digest): Promise<Buffer | undefined> {
    return this.#statements.manifestBytes.get(digest) as Buffer | undefined;
  }

  async children(digest: Digest): Promise<readonly ChildLink[]> {
    const rows = this.#statements.children.all(digest) as ChildRow[];
    return rows.map(({ media_type: mediaType, platform, ...row }) => {
      return { ...row, mediaType, platform: platform ?? undefined };
    });
  }

  async put(
    key: RepositoryKey,
    manifest: StoredManifest,
    children: readonly ChildLink[],
    { tag, upstream, at }: FoundBy,
  ): Promise<TagEvent | undefined> {
    return this.#database.transaction(() => {
      this.#put(key, manifest, children, at);
      if (tag === undefined) return undefined;
      return stepTag(this.#statements, key, tag, { kind: 'served', digest: manifest.digest, upstream, at })
        .event;
    })();
  }

  async import(entries: readonly ImportedManifest[]): Promise<readonly ImportedTag[]> {
    const s = this.#statements;
    return this.#database.transaction(() => {
      const imported: ImportedTag[] = [];
      for (const { key, manifest, children, at } of entries) this.#put(key, manifest, children, at);
      for (const { key, manifest, tag, at } of entries) {
        if (tag === undefined) continue;
        const { before, event } = stepTag(s, key, tag, { kind: 'imported', digest: manifest.digest, at });
        imported.push({ key, tag, before, move: event });
      }
      return imported;
    })();
  }

  async drop(digest: Digest): Promise<void> {
    this.#database.transaction(() => {
      this.#statements.dropParents.run(digest);
      this.#statements.dropManifest.run(digest);
      this.#statements.dropExamined.run();
    })();
  }

  async digests(): Promise<readonly Digest[]> {
    return this.#statements.manifests.all() as Digest[];
  }

  async storedAt(digests: readonly Digest[]): Promise<ReadonlyMap<Digest, number>> {
    return timesOf(this.#statements.manifestStoredAt, digests);
  }

  /** Records a manifest with its links, within a transaction. */
  #put(
    key: RepositoryKey,
    { digest, mediaType, bytes }: StoredManifest,
    children: readonly ChildLink[],
    at: number,
  ): void {
    const s = this.#statements;
    const repository = repositoryId(s, key);
    const isNew = s.putManifest.run(digest, mediaType, at).changes > 0;
    s.putManifestBody.run(digest, bytes);
    s.putLink.run(repository, digest, bytes.length, mediaType);
    for (const child of children) {
      s.putChild.run(digest, child.digest, child.role, child.size, child.mediaType, child.platform ?? null);
      if (child.role !== 'subject') s.putLink.run(repository, child.digest, child.size, child.mediaType);
    }
    // Other repositories may have had a link to it before anybody knew what it names.
    if (isNew) s.putParentsEverywhere.run(digest);
    else s.putParentsOf.run(repository, digest);
    s.putParentsOfChildren.run(repository, digest);
  }
}
