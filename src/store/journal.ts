import type { Digest } from '../oci/digest.ts';
import type { Tag } from '../oci/reference.ts';
import type { RepositoryKey } from '../oci/repository-key.ts';

/** One pull to be remembered; `tag` when it was by tag. */
export type PullRecord = RepositoryKey & {
  readonly digest: Digest;
  readonly tag: Tag | undefined;
  readonly at: number;
};

/** What is known of one upstream, as plain JSON that this room does not look into. */
export type UpstreamRecord = {
  readonly registry: string;
  readonly upstream: string;
  readonly snapshot: unknown;
};

/** One run of a sync entry; `report` is plain JSON that this room does not look into. Times in ms since the epoch. */
export type SyncRunRecord = {
  readonly entry: string;
  readonly startedAt: number;
  readonly endedAt: number;
  readonly report: unknown;
};

/** What happened: pulls, how upstreams did, runs of sync entries. */
export interface Journal {
  /** Remembers when content was last pulled; repositories, tags and digests not known are passed over. */
  recordPulls(pulls: readonly PullRecord[]): Promise<void>;
  /** What was last known of the upstreams. */
  upstreamHealth(): Promise<readonly UpstreamRecord[]>;
  /** Records what is known of upstreams, in place of what was; those not named are forgotten. */
  putUpstreamHealth(records: readonly UpstreamRecord[]): Promise<void>;
  /** The runs of a sync entry that are remembered, newest first. */
  syncRuns(entry: string): Promise<readonly SyncRunRecord[]>;
  /** Remembers a run; of each entry only the last few are kept. */
  putSyncRun(run: SyncRunRecord): Promise<void>;
}
