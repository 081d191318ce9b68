import type { Worker } from 'node:worker_threads';
import { onTestFinished } from 'vitest';
import { systemClock } from '../../../src/lib/clock.ts';
import type { Digest } from '../../../src/oci/digest.ts';
import { HedgeBudget } from '../../../src/pull/asking/hedge-budget.ts';
import { PullBlobs } from '../../../src/pull/blobs/blobs.ts';
import { Fills } from '../../../src/pull/blobs/fills.ts';
import { VerifiedDownloads } from '../../../src/pull/download/verified-downloads.ts';
import type { FillReport } from '../../../src/pull/pull-facts.ts';
import { keyOf, type ResolvedRepository } from '../../../src/pull/repository.ts';
import { FillWorkers } from '../../../src/pull/threads/fill-workers.ts';
import { DiskBlobStore } from '../../../src/store/disk/disk-blob-store.ts';
import { FillFiles } from '../../../src/store/disk/fill-files.ts';
import { type Layout, storageLayout } from '../../../src/store/disk/layout.ts';
import type { Metadata } from '../../../src/store/metadata.ts';
import { SqliteMetadata } from '../../../src/store/sqlite/sqlite-metadata.ts';
import { StoredBlobs } from '../../../src/store/stored-blobs.ts';
import { UpstreamClient } from '../../../src/upstream/client.ts';
import { UpstreamHealth } from '../../../src/upstream/health/health.ts';
import type { UpstreamOptions } from '../../../src/upstream/upstream-options.ts';
import { type CapturedLog, captureLog } from '../../helpers/capture-log.ts';
import { metadataUnderTest } from '../../helpers/delayed-metadata.ts';
import { pullFacts } from '../../helpers/facts.ts';
import { within } from '../../helpers/gate.ts';
import { openFilesUnder } from '../../helpers/leaks.ts';
import { temporaryDirectory } from '../../helpers/start-proxy.ts';
import { mustKey } from '../../helpers/stored.ts';
import { type HoldableMetadata, holdableMetadata } from '../../helpers/wrapped-metadata.ts';

/** Everything below one blob download, wired as `app.ts` does it, on a storage of its own. */
export type FillScene = {
  readonly layout: Layout;
  readonly fills: Fills;
  readonly workers: FillWorkers;
  readonly blobs: PullBlobs;
  readonly store: StoredBlobs;
  /** The bytes of what is stored. */
  readonly bytes: DiskBlobStore;
  readonly metadata: Metadata;
  /** Stops the next call of a method of the index. */
  readonly hold: HoldableMetadata['hold'];
  readonly target: ResolvedRepository;
  /** What was told of each fill that ended. */
  readonly reports: FillReport[];
  /** The upstreams, of which wrong bytes were told, in that order. */
  readonly distrusted: string[];
  /** The clients of the upstreams, as given. */
  readonly upstreams: readonly UpstreamClient[];
  readonly log: CapturedLog;
  /** Gives the repository leave to read a blob. */
  allow(digest: Digest, size: number | undefined): Promise<void>;
};

type Options = Partial<ConstructorParameters<typeof Fills>[1]> & {
  root?: string;
  threads?: number;
  /** Bytes from which on a blob is hashed by another thread than its own; the default of {@link FillWorkers}. */
  hashedApartFrom?: number;
  /** Starts a worker; the default of {@link FillWorkers}. */
  startWorker?: () => Worker;
  /** How patient its downloads are. */
  download?: ConstructorParameters<typeof VerifiedDownloads>[1]['patience'];
  /** Failures in a row after which an upstream is left alone. */
  failures?: number;
  /** What each upstream is configured with, in the order of their origins. */
  configured?: readonly Partial<UpstreamOptions>[];
};

/** Builds a {@link FillScene} whose repository `ghcr.io/org/app` is fetched from these origins, in order. */
export async function fillScene(origins: readonly string[], options: Options = {}): Promise<FillScene> {
  const {
    root = await temporaryDirectory(),
    threads = 1,
    hashedApartFrom,
    startWorker,
    download = { rounds: 4, pause: 1 },
    configured = [],
    failures = 3,
    ...deviating
  } = options;
  const layout = storageLayout(root);
  const { metadata, hold } = holdableMetadata(metadataUnderTest(SqliteMetadata.open(layout.index)));
  const files = new FillFiles(layout);
  await files.prepare(0);
  const bytes = new DiskBlobStore(layout);
  const captured = captureLog();
  const { log } = captured;
  const clock = systemClock;
  const workers = new FillWorkers(
    { log, clock, ...(startWorker && { start: startWorker }) },
    { threads, ...(hashedApartFrom !== undefined && { hashedApartFrom }) },
  );
  const reports: FillReport[] = [];
  const distrusted: string[] = [];
  const random = () => 0.999;
  const facts = pullFacts();
  const store = new StoredBlobs({ records: metadata.blobs, bytes, clock, facts });
  facts.on('fill-ended', ({ report }) => reports.push(report));
  facts.on('upstream-distrusted', ({ upstream }) => distrusted.push(upstream));
  const downloads = new VerifiedDownloads(
    {
      log,
      random,
      hedges: new HedgeBudget({ facts }),
      facts,
    },
    { patience: download },
  );
  const fills = new Fills(
    {
      blobs: store,
      files,
      workers,
      downloads,
      log,
      facts,
    },
    {
      patience: 60_000,
      sizeLimit: 100_000_000,
      concurrency: 8,
      ...deviating,
    },
  );
  const blobs = new PullBlobs({ blobs: store, metadata, fills, clock });
  const upstreams = origins.map((url, index) => {
    const timeouts = { connectTimeout: 20_000, headersTimeout: 20_000, stallTimeout: 20_000 };
    const health = new UpstreamHealth({ clock, random }, { breaker: { failures } });
    return new UpstreamClient(
      { log, clock, health: () => health, observe: () => undefined },
      { url, tags: true, insecure: true, userAgent: 'test', ...timeouts, ...configured[index] },
    );
  });
  const { repository } = mustKey('ghcr.io', 'org/app');
  const registry = {
    name: 'ghcr.io',
    source: { kind: 'mirror', upstreams } as const,
    tagTtl: 60_000,
    negativeTtl: 10_000,
  };
  const target = { registry, repository };
  onTestFinished(async () => {
    blobs.close();
    // A fill that hangs must not hide, behind a hook that hangs as well, the test that found it.
    await within(fills.close(), 'the fills to close').finally(() => workers.close());
    await Promise.all(upstreams.map((upstream) => upstream.close()));
    await metadata.close();
    const open = openFilesUnder(root);
    if (open.length > 0) throw new Error(`still open: ${open.join()}`);
  });
  return {
    layout,
    fills,
    workers,
    blobs,
    store,
    bytes,
    metadata,
    hold,
    target,
    reports,
    distrusted,
    upstreams,
    log: captured,
    allow: (digest, size) => metadata.links.put(keyOf(target), digest, size),
  };
}
