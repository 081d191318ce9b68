import type { Database } from 'better-sqlite3';
import type { Digest } from '../../oci/digest.ts';
import type { Tag } from '../../oci/reference.ts';
import type { RepositoryKey } from '../../oci/repository-key.ts';
import type { Lead, Link, LinkRecords } from '../link-records.ts';
import type { Statements } from './statements.ts';
import { repositoryId } from './tag-rows.ts';

type LeadRow = { tag: Tag | null; digest: Digest; noted: string };
type LinkRow = { size: number | null; media_type: string | null };

/** {@link LinkRecords} in SQLite. */
export class SqliteLinks implements LinkRecords {
  readonly #database: Database;
  readonly #statements: Statements;

  constructor(deps: { database: Database; statements: Statements }) {
    this.#database = deps.database;
    this.#statements = deps.statements;
  }

  async get(key: RepositoryKey, digest: Digest): Promise<Link | undefined> {
    const row = this.#statements.link.get(digest, key.registry, key.repository) as LinkRow | undefined;
    return row && { size: row.size ?? undefined, mediaType: row.media_type ?? undefined };
  }

  async put(key: RepositoryKey, digest: Digest, size: number | undefined): Promise<void> {
    const s = this.#statements;
    this.#database.transaction(() => {
      s.putLink.run(repositoryId(s, key), digest, size ?? null, null);
    })();
  }

  async repositories(): Promise<readonly RepositoryKey[]> {
    return this.#statements.repositories.all() as RepositoryKey[];
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

  async referrersOf({ registry, repository }: RepositoryKey, subject: Digest): Promise<readonly Digest[]> {
    return this.#statements.referrersOf.all({ registry, repository, subject }) as Digest[];
  }

  async putReferrers(key: RepositoryKey, subject: Digest, referrers: readonly Digest[]): Promise<void> {
    const s = this.#statements;
    this.#database.transaction(() => {
      const repository = repositoryId(s, key);
      for (const digest of referrers) s.putReferrer.run(repository, digest, subject);
    })();
  }

  async examinedAt({ registry, repository }: RepositoryKey, digest: Digest): Promise<number | undefined> {
    return this.#statements.examinedAt.get(registry, repository, digest) as number | undefined;
  }

  async putExamined({ registry, repository }: RepositoryKey, digest: Digest, at: number): Promise<boolean> {
    return this.#statements.putExamined.run(digest, at, registry, repository).changes > 0;
  }
}
