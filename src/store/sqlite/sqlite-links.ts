import type { Database } from 'better-sqlite3';
import type { Digest } from '../../oci/digest.ts';
import type { Tag } from '../../oci/reference.ts';
import type { RepositoryKey } from '../../oci/repository-key.ts';
import type { Link, LinkRecords, StepEnd, StepFrom, StepUp } from '../link-records.ts';
import { longestStep, type Statements } from './statements.ts';
import { repositoryId } from './tag-rows.ts';

type LinkRow = { size: number | null; media_type: string | null };

/** The id of no repository: of one that is not recorded, something may be known all the same by what manifests say. */
const nowhere = -1;

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
      const repository = repositoryId(s, key);
      s.putLink.run(repository, digest, size ?? null, null);
      s.putParentsOf.run(repository, digest);
    })();
  }

  async repositories(): Promise<readonly RepositoryKey[]> {
    return this.#statements.repositories.all() as RepositoryKey[];
  }

  async stepsUp(
    { registry, repository }: RepositoryKey,
    from: readonly StepFrom[],
    { current }: { readonly current: boolean },
  ): Promise<readonly StepUp[]> {
    return this.#database.transaction(() => {
      const id = this.#statements.repository.get(registry, repository) as number | undefined;
      return from.map((each) => this.#stepUp(id ?? nowhere, each, current));
    })();
  }

  async referrersOf({ registry, repository }: RepositoryKey, subject: Digest): Promise<readonly Digest[]> {
    const s = this.#statements;
    const listed = s.listedReferrers.all(registry, repository, subject) as Digest[];
    const own = s.ownReferrers.all(registry, repository, subject) as Digest[];
    return [...new Set([...listed, ...own])].sort();
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

  #stepUp(repository: number, { digest, after }: StepFrom, current: boolean): StepUp {
    const s = this.#statements;
    const { tag = '', parent = '', subject = '' } = after ?? {};
    const served = current ? s.tagsNowServedAs : s.tagsServedAs;
    const tags = served.all(repository, digest, tag) as Tag[];
    const parents = s.parents.all(repository, digest, parent) as Digest[];
    const listed = s.listedSubjects.all(repository, digest, subject) as Digest[];
    const own = after === undefined ? (s.subjects.all(digest) as Digest[]) : [];
    const next: StepEnd = {
      tag: tags.at(-1) ?? tag,
      parent: parents.at(-1) ?? parent,
      subject: listed.at(-1) ?? subject,
    };
    const more = [tags, parents, listed].some(({ length }) => length === longestStep);
    return { tags, above: [...parents, ...own, ...listed], next: more ? next : undefined };
  }
}
