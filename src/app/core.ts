import { availableParallelism } from 'node:os';
import type { Config } from '../config/config.ts';
import type { Clock } from '../lib/clock.ts';
import { Facts } from '../lib/facts.ts';
import type { Log } from '../lib/log.ts';
import { type Metrics, openMetrics } from '../lib/metrics.ts';
import { Admission } from '../pull/admission/admission.ts';
import { DeniedContent } from '../pull/admission/denied-content.ts';
import { HedgeBudget } from '../pull/asking/hedge-budget.ts';
import { UpstreamWatch } from '../pull/asking/upstream-watch.ts';
import { PullBlobs } from '../pull/blobs/blobs.ts';
import { Fills } from '../pull/blobs/fills.ts';
import { VerifiedDownloads } from '../pull/download/verified-downloads.ts';
import { PullListings } from '../pull/listings/listings.ts';
import { PullManifests } from '../pull/manifests/manifests.ts';
import { ManifestStore } from '../pull/manifests/store.ts';
import { TagOperations } from '../pull/manifests/tag-operations.ts';
import { Namespaces } from '../pull/namespaces.ts';
import type { Registry } from '../pull/repository.ts';
import { FillWorkers } from '../pull/threads/fill-workers.ts';
import { DiskBlobStore } from '../store/disk/disk-blob-store.ts';
import { FillFiles } from '../store/disk/fill-files.ts';
import { ImportStaging } from '../store/disk/import-staging.ts';
import { type Layout, storageLayout } from '../store/disk/layout.ts';
import type { Metadata } from '../store/metadata.ts';
import { SqliteMetadata } from '../store/sqlite/sqlite-metadata.ts';
import { Exporter } from '../transfer/export/exporter.ts';
import { Status } from '../transfer/images/image-status.ts';
import { Images } from '../transfer/images/images.ts';
import { Scrub } from '../transfer/images/scrub.ts';
import { Importer } from '../transfer/import/importer.ts';
import { Warm } from '../transfer/warm/warm-images.ts';
import { countFacts } from './count-facts.ts';
import type { OnClose } from './lifetime.ts';
import { lockOf, rulesOf } from './policy.ts';
import { logFacts, type ServerFact } from './server-facts.ts';
import { bandwidthBudgets, buildRegistries, watchUpstreams } from './upstreams.ts';

/** What everything is built with. */
export type Surroundings = { readonly log: Log; readonly clock: Clock; readonly random: () => number };

/** All of a server but its sockets: the storage, the upstreams, and what is pulled through them. */
export type Core = {
  readonly metrics: Metrics;
  readonly facts: Facts<ServerFact>;
  readonly layout: Layout;
  readonly metadata: Metadata;
  readonly registries: readonly Registry[];
  readonly namespaces: Namespaces;
  readonly admission: Admission;
  readonly manifests: PullManifests;
  readonly listings: PullListings;
  readonly blobs: PullBlobs;
  readonly tags: TagOperations;
  readonly images: Images;
  readonly warm: Warm;
  readonly status: Status;
  readonly scrub: Scrub;
  readonly exporter: Exporter;
  readonly importer: Importer;
};

/** Milliseconds that a download goes on without a reader. */
const fillPatience = 15 * 60_000;

/** Bytes that a blob of undeclared size may have. */
const largestBlob = 64 * 1024 ** 3;

/** Downloads at once of what is fetched ahead, so that the other turns are left to clients. */
const mostWarmed = 16;

/** Milliseconds after which the rest of an interrupted download is not worth resuming. */
const staleFill = 24 * 3600_000;

/** Opens the storage and builds what works with it. */
export async function openCore(config: Config, around: Surroundings, onClose: OnClose): Promise<Core> {
  const { log, clock, random } = around;
  const metrics = openMetrics();
  onClose(() => metrics.close());

  const layout = storageLayout(config.storage.path);
  const metadata = SqliteMetadata.open(layout.index);
  onClose(() => metadata.close());
  const files = new FillFiles(layout);
  const removed = await files.prepare(clock.now() - staleFill);
  if (removed > 0) log.info({ removed }, 'leftovers of interrupted downloads removed');

  const registries = buildRegistries(config, { log, clock, metrics, random });
  onClose(async () => {
    await Promise.all(registries.flatMap(({ upstreams }) => upstreams.map((upstream) => upstream.close())));
  });
  const watch = new UpstreamWatch({ registries, metadata, clock, log, random });
  // What is known of upstreams outlasts a time offline.
  if (!config.offline) {
    await watch.start();
    onClose(() => watch.close());
  }
  watchUpstreams(registries, metrics);

  const facts = new Facts<ServerFact>({
    failed: (error, { kind }) => log.error({ fact: kind, cause: String(error) }, 'a listener failed'),
  });
  countFacts(facts, metrics);
  logFacts(facts, log);
  const hedges = new HedgeBudget({ facts });
  const blobStore = new DiskBlobStore(layout);
  const fills = openFills(
    config,
    { ...around, metrics, metadata, files, blobs: blobStore, hedges, facts },
    onClose,
  );

  const lock = lockOf(config.policy);
  const rules = rulesOf(config.policy, lock);
  const store = new ManifestStore({ metadata, facts });
  facts.on('manifest-gone', ({ digest }) => store.forget(digest));
  const { manifestSize } = config.limits;
  const manifests = new PullManifests(
    { store, clock, log, random, hedging: hedges, rules },
    { manifestSize },
  );
  onClose(() => manifests.close());
  const listings = new PullListings({ metadata, clock, facts }, { manifestSize });
  onClose(() => listings.close());
  const deniedContent = new DeniedContent({ manifests, listings, metadata, clock, log });
  onClose(() => deniedContent.close());
  const admission = new Admission(
    { rules, metadata, lock, deniedContent },
    { digests: config.policy.digests },
  );
  facts.on('provenance-changed', ({ key }) => admission.changed(key));
  const blobs = new PullBlobs({ blobs: blobStore, metadata, fills, clock });
  onClose(() => blobs.close());
  const namespaces = new Namespaces(registries, {
    aliases: aliasesOf(config),
    defaultRegistry: config.defaultRegistry,
  });
  const tags = new TagOperations({ namespaces, manifests, store, metadata, clock });
  const images = new Images({ metadata, blobs: blobStore, namespaces });
  const warm = new Warm(
    { images, admission, manifests, listings, fills, blobs: blobStore },
    { blobs: Math.max(1, Math.min(mostWarmed, Math.floor(config.limits.connections / 2))) },
  );
  const scrub = new Scrub({ metadata, blobs: blobStore, clock, log, facts });
  return {
    metrics,
    facts,
    layout,
    metadata,
    registries,
    namespaces,
    admission,
    manifests,
    listings,
    blobs,
    tags,
    images,
    warm,
    status: new Status({ images, admission }),
    scrub,
    exporter: new Exporter({ images, metadata, blobs: blobStore }),
    importer: new Importer(
      { metadata, manifests: store, blobs: blobStore, staging: new ImportStaging(layout), clock },
      { registries: registries.map(({ name }) => name), manifestSize },
    ),
  };
}

function openFills(
  config: Config,
  deps: Surroundings & {
    metrics: Metrics;
    metadata: Metadata;
    files: FillFiles;
    blobs: DiskBlobStore;
    hedges: HedgeBudget;
    facts: Facts<ServerFact>;
  },
  onClose: OnClose,
): Fills {
  const { metrics, log, clock, random, hedges, facts } = deps;
  const workers = new FillWorkers({ threads: Math.max(2, Math.min(4, availableParallelism())) });
  onClose(() => workers.close());
  const downloads = new VerifiedDownloads(
    { log, random, hedges, budgets: bandwidthBudgets(config), facts },
    { patience: { rounds: 4, pause: 250 } },
  );
  const fills = new Fills(
    {
      blobs: deps.blobs,
      files: deps.files,
      metadata: deps.metadata,
      workers,
      downloads,
      clock,
      log,
      facts,
    },
    { patience: fillPatience, sizeLimit: largestBlob, concurrency: config.limits.connections },
  );
  onClose(() => fills.close());
  metrics.gauge('entrepot_fills_active', 'Downloads under way.', () => fills.active);
  return fills;
}

function aliasesOf(config: Config): ReadonlyMap<string, string> {
  return new Map(
    Object.entries(config.registries).flatMap(([name, { hosts }]) =>
      hosts.map((host) => [host, name] as const),
    ),
  );
}
