import type { Database } from 'better-sqlite3';
import type { Digest } from '../../oci/digest.ts';
import type { Tag } from '../../oci/reference.ts';
import type { RepositoryKey } from '../../oci/repository-key.ts';
import type { TagEvent, TagRecord, TagRecords, TagSighting } from '../tag-records.ts';
import type { TagStep } from '../tag-state.ts';
import type { Statements } from './statements.ts';
import { stepTag, tagRecord } from './tag-rows.ts';

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

  async names(
    { registry, repository }: RepositoryKey,
    { after = '', most = -1 }: { readonly after?: string | undefined; readonly most?: number } = {},
  ): Promise<readonly string[]> {
    // No tag is empty; a negative limit is none.
    return this.#statements.tags.all(registry, repository, after, most) as string[];
  }

  async observe(key: RepositoryKey, tag: Tag, seen: TagSighting): Promise<TagEvent | undefined> {
    return this.#step(key, tag, { ...seen, kind: 'seen' }).event;
  }

  async set(
    key: RepositoryKey,
    tag: Tag,
    { digest, action, at }: { digest: Digest; action: 'locked' | 'rolled back'; at: number },
  ): Promise<boolean> {
    const s = this.#statements;
    return this.#database.transaction(() => {
      if (s.manifest.get(digest, key.registry, key.repository) === undefined) return false;
      stepTag(s, key, tag, { kind: action, digest, at });
      return true;
    })();
  }

  async release(key: RepositoryKey, tag: Tag, at: number): Promise<boolean> {
    return this.#step(key, tag, { kind: 'released', at }).event !== undefined;
  }

  async drop(key: RepositoryKey, tag: Tag, known?: TagRecord): Promise<boolean> {
    return this.#step(key, tag, { kind: 'dropped', known }).record === undefined;
  }

  async history(key: RepositoryKey, tag: Tag | undefined): Promise<readonly TagEvent[]> {
    const { registry, repository } = key;
    const s = this.#statements;
    const rows =
      tag === undefined ? s.history.all(registry, repository) : s.tagHistory.all(registry, repository, tag);
    return (rows as TagEventRow[]).map((row) => ({ ...row, old: row.old ?? undefined }));
  }

  #step(key: RepositoryKey, tag: Tag, step: TagStep): ReturnType<typeof stepTag> {
    return this.#database.transaction(() => stepTag(this.#statements, key, tag, step))();
  }
}
