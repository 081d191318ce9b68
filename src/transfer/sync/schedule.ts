import type { Clock } from '../../lib/clock.ts';
import type { Log } from '../../lib/log.ts';
import { imageName } from '../../pull/repository.ts';
import type { Sync } from './sync-entries.ts';
import { dueAt, type SyncEntry } from './sync-entry.ts';

/** Milliseconds between two looks at what is due. */
const lookEvery = 1_000;

/** Entries that are synced at once: the rest of a schedule waits, so that clients keep most of the line. */
const mostAtOnce = 2;

type Plan = { readonly at: number; readonly missed: boolean };

/**
 * Runs entries when their schedules say so, a little later by chance. What was missed while no server ran, or while the
 * machine slept, is made up for by one run.
 */
export class SyncSchedule {
  readonly #deps: { sync: Sync; clock: Clock; random: () => number; log: Log };
  readonly #plans = new Map<SyncEntry, Plan>();
  readonly #runs = new Set<Promise<void>>();
  readonly #closing = new AbortController();
  #timer: NodeJS.Timeout | undefined;

  /** @param deps.random a number from 0 to below 1 */
  constructor(deps: { sync: Sync; clock: Clock; random: () => number; log: Log }) {
    this.#deps = deps;
  }

  /** Plans every entry's next run, and begins to look at what is due. */
  async start(): Promise<void> {
    const { sync, clock } = this.#deps;
    const now = clock.now();
    for (const entry of sync.entries) this.#plan(entry, (await sync.last(entry))?.startedAt, now);
    this.#timer = setInterval(() => this.look(), lookEvery);
    this.#timer.unref();
  }

  /** Begins the runs that are due, as many as may be under way at once. */
  look(): void {
    const { clock, sync } = this.#deps;
    const due = [...this.#plans]
      .filter(([, { at }]) => at <= clock.now())
      .toSorted(([, a], [, b]) => a.at - b.at);
    for (const [entry, { missed }] of due) {
      if (sync.active >= mostAtOnce || this.#closing.signal.aborted) return;
      this.#plans.delete(entry);
      const run = this.#run(entry, missed).finally(() => this.#runs.delete(run));
      this.#runs.add(run);
    }
  }

  /** Begins nothing more; resolves when the runs under way have ended, which closing the `Sync` hastens. */
  async close(): Promise<void> {
    clearInterval(this.#timer);
    this.#closing.abort(new Error('the server is stopping'));
    await Promise.all(this.#runs);
  }

  async #run(entry: SyncEntry, missed: boolean): Promise<void> {
    const { sync, log, clock } = this.#deps;
    const startedAt = clock.now();
    try {
      const cause = missed ? 'missed' : 'schedule';
      await sync.run(entry, cause, () => {}, this.#closing.signal);
    } catch (error) {
      if (this.#closing.signal.aborted) return;
      log.error({ image: imageName(entry.target), cause: String(error) }, 'sync broken off');
    }
    this.#plan(entry, startedAt, clock.now());
  }

  #plan(entry: SyncEntry, lastRun: number | undefined, now: number): void {
    // A run in the future is one before the clock was set back.
    const due = dueAt(entry, lastRun === undefined ? undefined : Math.min(lastRun, now));
    if (due === undefined) return;
    const missed = due <= now;
    const jitter = Math.floor(this.#deps.random() * entry.jitter);
    this.#plans.set(entry, { at: (missed ? now : due) + jitter, missed });
  }
}
