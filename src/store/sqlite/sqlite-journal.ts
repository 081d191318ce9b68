import type { Database } from 'better-sqlite3';
import type { Journal, PullRecord, SyncRunRecord, UpstreamRecord } from '../journal.ts';
import type { Statements } from './statements.ts';

type SyncRunRow = { started_at: number; ended_at: number; report: string };
type UpstreamRow = { registry: string; name: string; snapshot: string };

/** Runs of an entry that are kept: enough to see since when something fails. */
const kept = 20;

/** {@link Journal} in SQLite. */
export class SqliteJournal implements Journal {
  readonly #database: Database;
  readonly #statements: Statements;

  constructor(deps: { database: Database; statements: Statements }) {
    this.#database = deps.database;
    this.#statements = deps.statements;
  }

  async recordPulls(pulls: readonly PullRecord[]): Promise<void> {
    const s = this.#statements;
    this.#database.transaction(() => {
      for (const pull of pulls) {
        const { digest, at } = pull;
        if (pull.kind === 'blob') {
          s.pulledBlob.run(at, digest);
          continue;
        }
        s.pulledManifest.run(at, digest);
        if (pull.tag !== undefined) s.pulledTag.run(at, pull.registry, pull.repository, pull.tag);
      }
    })();
  }

  async upstreamHealth(): Promise<readonly UpstreamRecord[]> {
    const rows = this.#statements.upstreams.all() as UpstreamRow[];
    return rows.map(({ registry, name, snapshot }) => {
      return { registry, upstream: name, snapshot: JSON.parse(snapshot) as unknown };
    });
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
    const rows = this.#statements.syncRuns.all(entry) as SyncRunRow[];
    return rows.map(({ started_at: startedAt, ended_at: endedAt, report }) => {
      return { entry, startedAt, endedAt, report: JSON.parse(report) as unknown };
    });
  }

  async putSyncRun({ entry, startedAt, endedAt, report }: SyncRunRecord): Promise<void> {
    const s = this.#statements;
    this.#database.transaction(() => {
      s.putSyncRun.run(entry, startedAt, endedAt, JSON.stringify(report));
      s.dropSyncRuns.run({ entry, kept });
    })();
  }
}
