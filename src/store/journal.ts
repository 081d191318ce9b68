import type { Digest } from '../oci/digest.ts';
import type { Tag } from '../oci/reference.ts';
import type { RepositoryKey } from '../oci/repository-key.ts';

/** One pull to be remembered, of a manifest (`tag` when it was by tag) or of a blob. Times in ms since the epoch. */
export type PullRecord =
  | (RepositoryKey & {
      readonly kind: 'manifest';
      readonly digest: Digest;
      readonly tag: Tag | undefined;
      readonly at: number;
    })
  | { readonly kind: 'blob'; readonly digest: Digest; readonly at: number };

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
  /**
   * Remembers when content was last pulled. Repositories, tags and digests not known are passed over: a blob that was
   * pulled while it was fetched is stored later than that.
   */
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
