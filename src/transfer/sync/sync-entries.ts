import { neverAborted } from '../../lib/abort.ts';
import type { Clock } from '../../lib/clock.ts';
import type { Tell } from '../../lib/facts.ts';
import { Flights } from '../../lib/flights.ts';
import type { Log } from '../../lib/log.ts';
import { imageName } from '../../pull/repository.ts';
import { isClosed, requireUpstreams } from '../../pull/source.ts';
import type { Journal } from '../../store/journal.ts';
import { dueAt, entryId, type SyncEntry } from './sync-entry.ts';
import { runSync, type SyncReport, type SyncRunDeps, type SyncRunEvent } from './sync-run.ts';

/** What began a run. */
export type SyncCause = 'schedule' | 'missed' | 'demand';

/** A run that is over, or the last that is remembered. Times in milliseconds since the epoch. */
export type SyncRunRecorded = {
  readonly startedAt: number;
  readonly endedAt: number;
  readonly cause: SyncCause;
} & SyncReport;

/** How an entry stands. */
export type SyncStatus = {
  /** `registry/repository`. */
  readonly image: string;
  readonly tags: readonly string[] | undefined;
  readonly semver: string | undefined;
  readonly newest: number | undefined;
  readonly platforms: readonly string[];
  readonly schedule: string | undefined;
  readonly running: boolean;
  /** When the next run is due, without jitter: in the past where one is; in milliseconds since the epoch. */
  readonly next: number | undefined;
  readonly last: SyncRunRecorded | undefined;
};

/** What is told of runs as they go. `joined`: the entry was being synced already, and only its end is told. */
export type SyncEvent = { readonly image: string } & (
  | { readonly kind: 'begun' | 'joined' }
  | SyncRunEvent
  | ({ readonly kind: 'ended' } & SyncRunRecorded)
);

/** What is told on demand; the last event is `done`. */
export type SyncDemandEvent =
  | SyncEvent
  | { readonly kind: 'done'; readonly runs: number; readonly failed: number };

/** A run of an entry is over. */
export type SyncFact = { readonly kind: 'sync-ended'; readonly image: string; readonly run: SyncRunRecorded };

type SyncDeps = SyncRunDeps & {
  readonly journal: Pick<Journal, 'syncRuns' | 'putSyncRun'>;
  readonly clock: Clock;
  readonly log: Log;
  readonly facts: Tell<SyncFact>;
};

/** Keeps images up to date: runs an entry at a time, or several, but never one twice at once, and remembers the runs. */
export class Sync {
  readonly entries: readonly SyncEntry[];
  readonly #deps: SyncDeps;
  readonly #runs = new Flights<SyncRunRecorded>();

  constructor(deps: SyncDeps, options: { entries: readonly SyncEntry[] }) {
    this.#deps = deps;
    this.entries = options.entries;
  }

  /** How many entries are being synced. */
  get active(): number {
    return this.#runs.active;
  }

  /** How every entry stands. */
  async status(): Promise<readonly SyncStatus[]> {
    return Promise.all(
      this.entries.map(async (entry) => {
        const { target, selection, platforms, schedule } = entry;
        const last = await this.last(entry);
        return {
          image: imageName(target),
          tags: selection.tags,
          semver: selection.semver,
          newest: selection.newest,
          platforms,
          schedule,
          running: this.#runs.has(entryId(entry)),
          next: isClosed(target.registry) ? undefined : dueAt(entry, last?.startedAt),
          last,
        };
      }),
    );
  }

  /** The last run of an entry that is remembered. */
  async last(entry: SyncEntry): Promise<SyncRunRecorded | undefined> {
    const [run] = await this.#deps.journal.syncRuns(entryId(entry));
    if (run === undefined) return undefined;
    const { startedAt, endedAt, report } = run;
    return { startedAt, endedAt, ...(report as SyncReport & { cause: SyncCause }) };
  }

  /**
   * Syncs entries now, one after the other.
   * @throws OciError `UNSUPPORTED` where no upstream is asked, before anything is done; the signal's reason
   */
  async demand(
    entries: readonly SyncEntry[],
    emit: (event: SyncDemandEvent) => void,
    signal: AbortSignal,
  ): Promise<void> {
    for (const { target } of entries) requireUpstreams(target.registry);
    let failed = 0;
    for (const entry of entries) {
      const run = await this.run(entry, 'demand', emit, signal);
      if (run.failed.length > 0 || run.stopped !== undefined) failed += 1;
    }
    emit({ kind: 'done', runs: entries.length, failed });
  }

  /**
   * Syncs an entry, or waits for the run of it that is under way. A run that is broken off is not remembered, so that it
   * counts as missed.
   * @throws OciError as {@link Sync.demand} does; the signal's reason, or that the server is stopping
   */
  async run(
    entry: SyncEntry,
    cause: SyncCause,
    emit: (event: SyncEvent) => void,
    signal: AbortSignal,
  ): Promise<SyncRunRecorded> {
    requireUpstreams(entry.target.registry);
    const image = imageName(entry.target);
    const id = entryId(entry);
    const joins = this.#runs.has(id);
    if (joins) emit({ kind: 'joined', image });
    const run = (own: AbortSignal) => this.#run(entry, cause, emit, AbortSignal.any([signal, own]));
    // A run ends with the signal of whoever began it, who waits for that end.
    const { value } = await this.#runs.join(id, run, joins ? signal : neverAborted);
    if (joins) emit({ kind: 'ended', image, ...value });
    return value;
  }

  /** Breaks off what is under way; downloads that were begun go on as long as those of clients do. */
  async close(): Promise<void> {
    await this.#runs.close();
  }

  async #run(
    entry: SyncEntry,
    cause: SyncCause,
    emit: (event: SyncEvent) => void,
    signal: AbortSignal,
  ): Promise<SyncRunRecorded> {
    const { journal, clock, log, facts } = this.#deps;
    const image = imageName(entry.target);
    const startedAt = clock.now();
    emit({ kind: 'begun', image });
    const steps = runSync(this.#deps, entry, { polite: cause !== 'demand' }, signal);
    let step = await steps.next();
    for (; !step.done; step = await steps.next()) emit({ image, ...step.value });
    const report = { cause, ...step.value };
    const endedAt = clock.now();
    await journal.putSyncRun({ entry: entryId(entry), startedAt, endedAt, report });
    const run = { startedAt, endedAt, ...report };
    const { added, moved, unchanged, failed, stopped, requests, bytes } = run;
    const counts = { added: added.length, moved: moved.length, unchanged: unchanged.length };
    const line = { image, cause, ...counts, failed: failed.length, stopped, requests, bytes };
    if (failed.length > 0) log.warn({ ...line, because: failed[0]?.message }, 'sync ended with failures');
    else log.info(line, 'sync ended');
    facts.tell({ kind: 'sync-ended', image, run });
    emit({ kind: 'ended', image, ...run });
    return run;
  }
}
