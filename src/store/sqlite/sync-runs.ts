import type { SyncRunRecord } from '../metadata.ts';
import type { Statements } from './statements.ts';

type SyncRunRow = { entry: string; started_at: number; ended_at: number; report: string };

/** Runs of an entry that are kept: enough to see since when something fails. */
const kept = 20;

/** `Metadata.syncRuns`. */
export function syncRuns(s: Statements, entry: string): readonly SyncRunRecord[] {
  const rows = s.syncRuns.all(entry) as SyncRunRow[];
  return rows.map(({ started_at: startedAt, ended_at: endedAt, report }) => {
    return { entry, startedAt, endedAt, report: JSON.parse(report) as unknown };
  });
}

/** `Metadata.putSyncRun`, within a transaction. */
export function putSyncRun(s: Statements, { entry, startedAt, endedAt, report }: SyncRunRecord): void {
  s.putSyncRun.run(entry, startedAt, endedAt, JSON.stringify(report));
  s.dropSyncRuns.run({ entry, kept });
}
