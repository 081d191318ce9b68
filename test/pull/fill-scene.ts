import { onTestFinished } from 'vitest';
import { systemClock } from '../../src/lib/clock.ts';
import type { Digest } from '../../src/oci/digest.ts';
import { PullBlobs } from '../../src/pull/blobs.ts';
import { FillWorkers } from '../../src/pull/fill-workers.ts';
import { type FillReport, Fills } from '../../src/pull/fills.ts';
import { keyOf, type ResolvedRepository } from '../../src/pull/registry.ts';
import { DiskBlobStore } from '../../src/store/disk-blob-store.ts';
import { FillFiles } from '../../src/store/fill-files.ts';
import { type Layout, storageLayout } from '../../src/store/layout.ts';
import type { Metadata } from '../../src/store/metadata.ts';
import { SqliteMetadata } from '../../src/store/sqlite-metadata.ts';
import { UpstreamClient } from '../../src/upstream/client.ts';
import { captureLog } from '../helpers/capture-log.ts';
import { within } from '../helpers/gate.ts';
import { openFilesUnder } from '../helpers/leaks.ts';
import { temporaryDirectory } from '../helpers/start-proxy.ts';
import { mustKey } from '../store/contract-metadata.ts';

/** Everything below one blob download, wired as `app.ts` does it, on a storage of its own. */
export type FillScene = {
  readonly layout: Layout;
  readonly fills: Fills;
  readonly blobs: PullBlobs;
  readonly store: DiskBlobStore;
  readonly metadata: Metadata;
  readonly target: ResolvedRepository;
  /** What was told of each fill that ended. */
  readonly reports: FillReport[];
  /** Gives the repository leave to read a blob. */
  allow(digest: Digest, size: number | undefined): Promise<void>;
};

type Options = Partial<ConstructorParameters<typeof Fills>[1]> & { root?: string; threads?: number };

/** Builds a {@link FillScene} whose repository `ghcr.io/org/app` is fetched from these origins, in order. */
export async function fillScene(origins: readonly string[], options: Options = {}): Promise<FillScene> {
  const { root = await temporaryDirectory(), threads = 1, ...deviating } = options;
  const layout = storageLayout(root);
  const metadata = SqliteMetadata.open(layout.index);
  const files = new FillFiles(layout);
  await files.prepare(0);
  const store = new DiskBlobStore(layout);
  const workers = new FillWorkers({ threads });
  const { log } = captureLog();
  const clock = systemClock;
  const reports: FillReport[] = [];
  const fills = new Fills(
    { blobs: store, files, metadata, workers, clock, log, ended: (report) => reports.push(report) },
    {
      patience: 60_000,
      sizeLimit: 100_000_000,
      concurrency: 8,
      download: { rounds: 4, pause: 1 },
      ...deviating,
    },
  );
  const blobs = new PullBlobs({ blobs: store, metadata, fills, clock });
  const upstreams = origins.map((url) => {
    const timeouts = { connectTimeout: 20_000, headersTimeout: 20_000, stallTimeout: 20_000 };
    return new UpstreamClient(
      { log, clock, observe: () => undefined },
      { url, tags: true, insecure: true, userAgent: 'test', ...timeouts },
    );
  });
  const { repository } = mustKey('ghcr.io', 'org/app');
  const registry = { name: 'ghcr.io', upstreams, tagTtl: 60_000, negativeTtl: 10_000 };
  const target = { registry, repository };
  onTestFinished(async () => {
    blobs.close();
    // A fill that hangs must not hide, behind a hook that hangs as well, the test that found it.
    await within(fills.close(), 'the fills to close', 5_000).finally(() => workers.close());
    await Promise.all(upstreams.map((upstream) => upstream.close()));
    await metadata.close();
    const open = openFilesUnder(root);
    if (open.length > 0) throw new Error(`still open: ${open.join()}`);
  });
  return {
    layout,
    fills,
    blobs,
    store,
    metadata,
    target,
    reports,
    allow: (digest, size) => metadata.putLink(keyOf(target), digest, size),
  };
}
