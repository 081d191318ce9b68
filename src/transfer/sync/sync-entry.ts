import { Cron } from 'croner';
import { imageName, type ResolvedRepository } from '../../pull/repository.ts';
import type { TagSelection } from './select-tags.ts';

/** Images to keep up to date. */
export type SyncEntry = {
  readonly target: ResolvedRepository;
  readonly selection: TagSelection;
  /** `os/architecture[/variant]`; empty: all. */
  readonly platforms: readonly string[];
  /** Five cron fields in local time, or a nickname; `undefined`: on demand only. */
  readonly schedule: string | undefined;
  /** Milliseconds by which a run may start later than scheduled. */
  readonly jitter: number;
  /** Bytes per second of a run. */
  readonly maxBandwidth: number | undefined;
  /** Upstream requests of a run. */
  readonly requests: number | undefined;
};

/** What an entry's runs are remembered under: what it fetches, not when. */
export function entryId({ target, selection, platforms }: SyncEntry): string {
  const { tags, semver, newest } = selection;
  return JSON.stringify([imageName(target), tags ?? null, semver ?? null, newest ?? null, platforms]);
}

/**
 * When an entry's next run is due, in milliseconds since the epoch and without jitter; in the past where one was
 * missed. An entry that never ran is due at once.
 * @param lastRun when its last run began
 * @returns `undefined` for one without a schedule, or whose schedule never comes
 */
export function dueAt({ schedule }: SyncEntry, lastRun: number | undefined): number | undefined {
  if (schedule === undefined) return undefined;
  if (lastRun === undefined) return 0;
  return new Cron(schedule, { paused: true, mode: '5-part' }).nextRun(new Date(lastRun))?.getTime();
}
