import type { Database } from 'better-sqlite3';
import type { Digest } from '../../oci/digest.ts';
import type { Tag } from '../../oci/reference.ts';
import type { RepositoryKey } from '../repository-key.ts';
import type { TagEvent, TagRecord, TagRecords, TagSighting } from '../tag-records.ts';
import type { Statements } from './statements.ts';
import { observeTag, putTagEvent, repositoryId, tagRecord } from './tag-rows.ts';

type TagEventRow = Omit<TagEvent, 'old'> & { old: Digest | null };

/** {@link TagRecords} in SQLite. */
export class SqliteTags implements TagRecords {
  readonly #database: Database;
  readonly #statements: Statements;

  constructor(deps: { database: Database; statements: Statements }) {
    this.#database = deps.database;
    this.#statements = deps.statements;
  }

  async get(key: RepositoryKey, tag: Tag): Promise<TagRecord | undefined> {
    return tagRecord(this.#statements, key, tag);
  }

  async names(key: RepositoryKey): Promise<readonly string[]> {
    return this.#statements.tags.all(key.registry, key.repository) as string[];
  }

  async observe(key: RepositoryKey, tag: Tag, seen: TagSighting): Promise<TagEvent | undefined> {
    return this.#database.transaction(() => observeTag(this.#statements, key, tag, seen))();
  }

  async set(
    key: RepositoryKey,
    tag: Tag,
    { digest, action, at }: { digest: Digest; action: 'locked' | 'rolled back'; at: number },
  ): Promise<boolean> {
    const s = this.#statements;
    return this.#database.transaction(() => {
      if (s.manifest.get(digest, key.registry, key.repository) === undefined) return false;
      const before = tagRecord(s, key, tag);
      const repository = repositoryId(s, key);
      const pinned = action === 'rolled back' ? 1 : 0;
      s.setTag.run(repository, tag, digest, at, at, pinned);
      s.putTagDigest.run(repository, digest, tag);
      if (before?.digest !== digest || before.pinned !== (pinned === 1)) {
        putTagEvent(s, key, { tag, action, old: before?.digest, new: digest, upstream: '', at });
      }
      return true;
    })();
  }

  async release(key: RepositoryKey, tag: Tag, at: number): Promise<boolean> {
    const s = this.#statements;
    return this.#database.transaction(() => {
      const before = tagRecord(s, key, tag);
      const { changes } = s.releaseTag.run(key.registry, key.repository, tag);
      if (before === undefined || changes === 0) return false;
      const { digest } = before;
      putTagEvent(s, key, { tag, action: 'released', old: digest, new: digest, upstream: '', at });
      return true;
    })();
  }

  async drop(key: RepositoryKey, tag: Tag): Promise<void> {
    this.#statements.dropTag.run(key.registry, key.repository, tag);
  }

  async history(key: RepositoryKey, tag: Tag | undefined): Promise<readonly TagEvent[]> {
    const rows = this.#statements.tagHistory.all(key.registry, key.repository, tag ?? null) as TagEventRow[];
    return rows.map((row) => ({ ...row, old: row.old ?? undefined }));
  }
}
