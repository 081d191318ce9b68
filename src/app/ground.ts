import { availableParallelism } from 'node:os';
import { BufferPool } from '../http/registry/buffer-pool.ts';
import type { Clock } from '../lib/clock.ts';
import { Facts } from '../lib/facts.ts';
import type { Log } from '../lib/log.ts';
import { type Metrics, openMetrics } from '../lib/metrics.ts';
import { HedgeBudget } from '../pull/asking/hedge-budget.ts';
import { KnownHealth } from '../pull/asking/known-health.ts';
import { Fills } from '../pull/blobs/fills.ts';
import { VerifiedDownloads } from '../pull/download/verified-downloads.ts';
import { ManifestStore } from '../pull/manifests/store.ts';
import { PullTimes } from '../pull/pull-times.ts';
import { FillWorkers } from '../pull/threads/fill-workers.ts';
import { DigestThread } from '../store/disk/digest-thread.ts';
import { DiskBlobStore } from '../store/disk/disk-blob-store.ts';
import { FillFiles } from '../store/disk/fill-files.ts';
import { ImportStaging } from '../store/disk/import-staging.ts';
import { type Layout, storageLayout } from '../store/disk/layout.ts';
import { readOrMakeSecret } from '../store/disk/secret-file.ts';
import type { Metadata } from '../store/metadata.ts';
import { SqliteMetadata } from '../store/sqlite/sqlite-metadata.ts';
import { StoredBlobs } from '../store/stored-blobs.ts';
import { Scrub } from '../transfer/images/scrub.ts';
import { watchForBypass } from './bypass.ts';
import { countFacts } from './count-facts.ts';
import type { OnClose } from './lifetime.ts';
import { logFacts, type ServerFact } from './server-facts.ts';

/** What everything is built with. */
export type Surroundings = {
  readonly log: Log;
  readonly clock: Clock;
  readonly random: () => number;
  /** Gives what is used in place of the index that was opened: itself, but in tests. */
  readonly wrapMetadata: (inner: Metadata) => Metadata;
};

/**
 * What lives as long as the process: the storage and what is known of it, the downloads and their threads, metrics, and
 * the health of upstreams by their names. Sites come and go on it.
 */
export type Ground = Surroundings & {
  readonly metrics: Metrics;
  readonly facts: Facts<ServerFact>;
  readonly layout: Layout;
  readonly metadata: Metadata;
  readonly stored: StoredBlobs;
  readonly manifestStore: ManifestStore;
  readonly digests: DigestThread;
  readonly staging: ImportStaging;
  readonly hedges: HedgeBudget;
  readonly health: KnownHealth;
  readonly fills: Fills;
  /** The threads that downloads run on. */
  readonly workers: FillWorkers;
  readonly pullTimes: PullTimes;
  readonly sendBuffers: BufferPool;
  readonly scrub: Scrub;
  /** The key that tokens are signed with. */
  readonly tokenKey: Buffer;
};

/** Milliseconds that a download goes on without a reader. */
const fillPatience = 15 * 60_000;

/** Bytes that a blob of undeclared size may have. */
const largestBlob = 64 * 1024 ** 3;

/** Milliseconds after which the rest of an interrupted download is not worth resuming. */
const staleFill = 24 * 3600_000;

/** Milliseconds between two writes of when content was pulled. */
const pullTimesEvery = 5_000;

/** Pooled send buffers, half a megabyte each: two for each of 20 clients; further ones send in smaller pieces. */
const sendBuffers = 40;

/** Bytes of the key that tokens are signed with. */
const tokenKeyLength = 32;

/**
 * Opens the storage and what works on it.
 * @param options.storage the storage's folder
 * @param options.connections downloads at once
 * @throws IndexError when another process has the storage open, or a newer version wrote it
 */
export async function openGround(
  around: Surroundings,
  options: { storage: string; connections: number },
  onClose: OnClose,
): Promise<Ground> {
  const { log, clock, random } = around;
  const metrics = openMetrics();
  onClose(() => metrics.close());
  const facts = new Facts<ServerFact>({
    failed: (error, { kind }) => log.error({ fact: kind, cause: String(error) }, 'a listener failed'),
  });
  countFacts(facts, metrics);
  logFacts(facts, log);
  watchForBypass(facts, { clock, log, metrics });

  const layout = storageLayout(options.storage);
  const metadata = around.wrapMetadata(SqliteMetadata.open(layout.index));
  onClose(() => metadata.close());
  const health = new KnownHealth({ metadata, clock, random });
  await health.load();
  const manifestStore = new ManifestStore({ metadata, facts });
  facts.on('manifest-gone', ({ digest }) => manifestStore.forget(digest));
  const bytes = new DiskBlobStore(layout);
  const blobs = new StoredBlobs({ records: metadata.blobs, bytes, clock, facts });
  const recovered = await blobs.recover();
  if (recovered.stored + recovered.lost > 0) log.info(recovered, 'blobs of an interrupted run settled');
  const digests = new DigestThread();
  onClose(() => digests.close());
  const hedges = new HedgeBudget({ facts });
  const { fills, workers } = await openFills({ ...around, blobs, facts, hedges, layout }, options, onClose);
  metrics.gauge('entrepot_fills_active', 'Downloads under way.', () => fills.active);
  const pullTimes = new PullTimes({ journal: metadata.journal, log }, { every: pullTimesEvery });
  onClose(() => pullTimes.close());
  return {
    ...around,
    metrics,
    facts,
    layout,
    metadata,
    stored: blobs,
    manifestStore,
    digests,
    staging: new ImportStaging({ layout, digests }),
    hedges,
    health,
    fills,
    workers,
    pullTimes,
    sendBuffers: new BufferPool({ most: sendBuffers }),
    scrub: new Scrub({ metadata, blobs, bytes, digests, clock, log, facts }),
    tokenKey: await readOrMakeSecret(layout.tokenKey, tokenKeyLength),
  };
}

async function openFills(
  deps: Surroundings & Pick<Ground, 'facts' | 'hedges' | 'layout'> & { blobs: StoredBlobs },
  options: { connections: number },
  onClose: OnClose,
): Promise<{ fills: Fills; workers: FillWorkers }> {
  const { log, clock, random, blobs, facts, hedges } = deps;
  const files = new FillFiles(deps.layout);
  const removed = await files.prepare(clock.now() - staleFill);
  if (removed > 0) log.info({ removed }, 'leftovers of interrupted downloads removed');
  const threads = Math.max(2, Math.min(4, availableParallelism()));
  const workers = new FillWorkers({ log, clock }, { threads });
  onClose(() => workers.close());
  const downloads = new VerifiedDownloads(
    { log, random, hedges, facts },
    { patience: { rounds: 4, pause: 250 } },
  );
  const fills = new Fills(
    { blobs, files, workers, downloads, log, facts },
    { patience: fillPatience, sizeLimit: largestBlob, concurrency: options.connections },
  );
  onClose(() => fills.close());
  return { fills, workers };
}
