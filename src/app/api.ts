import type { Config } from '../config/config.ts';
import type { Gatekeeper } from '../http/access/gatekeeper.ts';
import { BlobEndpoint } from '../http/registry/blob-endpoint.ts';
import { BufferPool } from '../http/registry/buffer-pool.ts';
import { ManifestEndpoint } from '../http/registry/manifest-endpoint.ts';
import { RegistryApi } from '../http/registry/registry-api.ts';
import { DeniedManifests } from '../policy/denied-manifest.ts';
import { PullTimes } from '../pull/manifests/pull-times.ts';
import { watchForBypass } from './bypass.ts';
import type { Core, Surroundings } from './core.ts';
import type { OnClose } from './lifetime.ts';
import { openPrefetch } from './open-sync.ts';

/** Pooled send buffers, half a megabyte each: two for each of 20 clients; further ones send in smaller pieces. */
const sendBuffers = 40;

/** Builds the registry's API over what is open. */
export function openApi(
  config: Config,
  core: Core,
  gatekeeper: Gatekeeper,
  around: Surroundings,
  onClose: OnClose,
): RegistryApi {
  const { log, clock } = around;
  const { metrics, facts, metadata, namespaces, admission, manifests, listings, blobs } = core;
  const denials = new DeniedManifests();
  watchForBypass(facts, { clock, log, metrics });
  const pullTimes = new PullTimes({ journal: metadata.journal, log }, { every: 5_000 });
  onClose(() => pullTimes.close());
  openPrefetch(config, core, around, onClose);
  const { writeStallTimeout } = config.server;
  return new RegistryApi({
    namespaces,
    gatekeeper,
    admission,
    denials,
    listings,
    manifests: new ManifestEndpoint(
      {
        manifests,
        admission,
        denials,
        pullTimes,
        now: () => clock.now(),
        facts,
      },
      { failClosed: config.policy.failClosed },
    ),
    blobs: new BlobEndpoint({ blobs, pool: new BufferPool({ most: sendBuffers }) }, { writeStallTimeout }),
    facts,
  });
}
