import type { Config } from '../config/config.ts';
import { BlobEndpoint } from '../http/registry/blob-endpoint.ts';
import { ReferrersEndpoint, TagsEndpoint } from '../http/registry/list-endpoints.ts';
import { ManifestEndpoint } from '../http/registry/manifest-endpoint.ts';
import { Refusals } from '../http/registry/refusals.ts';
import { RegistryApi } from '../http/registry/registry-api.ts';
import { DeniedManifests } from '../policy/denied-manifest.ts';
import { UpstreamWatch } from '../pull/asking/upstream-watch.ts';
import { upstreamsOf } from '../pull/source.ts';
import { Exporter } from '../transfer/export/exporter.ts';
import { Status } from '../transfer/images/image-status.ts';
import { Images } from '../transfer/images/images.ts';
import { Importer } from '../transfer/import/importer.ts';
import type { Sync } from '../transfer/sync/sync-entries.ts';
import { Warm } from '../transfer/warm/warm-images.ts';
import { type Doors, openDoors } from './doors.ts';
import type { Ground } from './ground.ts';
import { Lifetime } from './lifetime.ts';
import { fetchAhead, openSync, startSyncSchedule } from './open-sync.ts';
import { openPulling, type Pulling } from './pulling.ts';
import { buildRegistries } from './registries.ts';

/**
 * What a configuration describes, in one value that does not change: the registries and their upstreams, rules, users,
 * what is synced, and the registry's API over all of that. A request reads it once, and ends on it.
 */
export type Site = Pulling & {
  readonly config: Config;
  readonly images: Images;
  readonly warm: Warm;
  readonly status: Status;
  readonly exporter: Exporter;
  readonly importer: Importer;
  readonly sync: Sync;
  readonly doors: Doors;
  readonly api: RegistryApi;
  /** Begins what runs by itself: the probes of upstreams, and what is scheduled. */
  begin(): Promise<void>;
  /** Ends what runs by itself and lets the upstreams go; what is still being answered is cut short. Idempotent. */
  close(): Promise<void>;
};

/** Downloads at once of what is fetched ahead, so that the other turns are left to clients. */
const mostWarmed = 16;

/** Builds what `config` describes. Nothing runs by itself before {@link Site.begin}. */
export async function openSite(config: Config, ground: Ground): Promise<Site> {
  const lifetime = new Lifetime(ground, config.server);
  const { onClose } = lifetime;
  try {
    const registries = buildRegistries(config, ground);
    onClose(async () => {
      await Promise.all(registries.flatMap(upstreamsOf).map((upstream) => upstream.close()));
    });
    const pulling = openPulling(config, registries, ground, onClose);
    const carrying = openCarrying(config, pulling, ground);
    const doors = await openDoors(config, ground, onClose);
    const sync = openSync(config, { ...pulling, ...carrying }, ground, onClose);
    fetchAhead(config, pulling, ground, onClose);
    return {
      config,
      ...pulling,
      ...carrying,
      doors,
      sync,
      api: openApi(config, pulling, doors, ground),
      begin: async () => {
        // What is known of upstreams outlasts a time offline.
        if (!config.offline) {
          const watch = new UpstreamWatch({ ...ground, registries, known: ground.health });
          watch.start();
          onClose(() => watch.close());
        }
        await startSyncSchedule(config, sync, ground, onClose);
      },
      close: () => lifetime.close(),
    };
  } catch (error) {
    return lifetime.closeAfter(error);
  }
}

/** Builds what brings images in and carries them on. */
function openCarrying(
  config: Config,
  { registries, namespaces, admission, admit, manifests, listings }: Pulling,
  { metadata, stored: blobs, manifestStore, staging, digests, fills, clock }: Ground,
): Pick<Site, 'images' | 'warm' | 'status' | 'exporter' | 'importer'> {
  const { connections, manifestSize } = config.limits;
  const images = new Images({ metadata, blobs, namespaces });
  return {
    images,
    warm: new Warm(
      { images, admit, manifests, listings, fills, blobs },
      { blobs: Math.max(1, Math.min(mostWarmed, Math.floor(connections / 2))) },
    ),
    status: new Status({ images, admission }),
    exporter: new Exporter({ images, metadata, blobs, digests }),
    importer: new Importer(
      { metadata, manifests: manifestStore, blobs, staging, digests, clock },
      { registries: registries.map(({ name }) => name), manifestSize },
    ),
  };
}

/** Builds the registry's API. */
function openApi(
  config: Config,
  { namespaces, admit, shownTags, listings, blobs }: Pulling,
  { gatekeeper }: Doors,
  { facts, clock, pullTimes, sendBuffers }: Ground,
): RegistryApi {
  const { writeStallTimeout } = config.server;
  return new RegistryApi({
    namespaces,
    gatekeeper,
    refusals: new Refusals(
      { denials: new DeniedManifests(), facts },
      { failClosed: config.policy.failClosed },
    ),
    manifests: new ManifestEndpoint({ admit, pullTimes, now: () => clock.now(), facts }),
    blobs: new BlobEndpoint({ admit, blobs, pool: sendBuffers, pullTimes, clock }, { writeStallTimeout }),
    tags: new TagsEndpoint({ admit, shownTags }),
    referrers: new ReferrersEndpoint({ admit, listings }),
  });
}
