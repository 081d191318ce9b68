import type { Config } from '../config/config.ts';
import type { Gatekeeper } from '../http/access/gatekeeper.ts';
import type { Exchange } from '../http/exchange.ts';
import { BlobEndpoint } from '../http/registry/blob-endpoint.ts';
import { BufferPool } from '../http/registry/buffer-pool.ts';
import { ManifestEndpoint } from '../http/registry/manifest-endpoint.ts';
import { RegistryApi } from '../http/registry/registry-api.ts';
import { BypassWatch } from '../policy/bypass-watch.ts';
import { DeniedManifests } from '../policy/denied-manifest.ts';
import { PullTimes } from '../pull/manifests/pull-times.ts';
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
  const { metrics, metadata, namespaces, admission, manifests, listings, blobs } = core;
  const denials = new DeniedManifests();
  const watch = new BypassWatch({ clock });
  const denied = metrics.counter('entrepot_denied_total', 'Requests that policy denied.', [
    'registry',
    'route',
  ]);
  const bypasses = metrics.counter(
    'entrepot_bypass_attempts_total',
    'Requests for content of an image by a client that had been denied it by tag.',
    ['registry'],
  );
  const refused = (exchange: Exchange, image: string) => {
    denied({ registry: registryOf(image), route: exchange.facts.route });
  };
  const content = (exchange: Exchange, image: string) => {
    refused(exchange, image);
    const client = exchange.incoming.socket.remoteAddress ?? '';
    if (!watch.follows(client, image)) return;
    bypasses({ registry: registryOf(image) });
    log.warn(
      { image, reference: exchange.facts.reference, client, agent: exchange.incoming.headers['user-agent'] },
      'denied image asked for by digest: its client goes around the policy',
    );
  };
  const pullTimes = new PullTimes({ journal: metadata.journal, log }, { every: 5_000 });
  onClose(() => pullTimes.close());
  const prefetch = openPrefetch(config, core, around, onClose);
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
        ...(prefetch && { served: prefetch.served.bind(prefetch) }),
        denied: (exchange, image, reference) => {
          if (reference.kind === 'digest') return content(exchange, image);
          refused(exchange, image);
          watch.denied(exchange.incoming.socket.remoteAddress ?? '', image);
        },
      },
      { failClosed: config.policy.failClosed },
    ),
    blobs: new BlobEndpoint({ blobs, pool: new BufferPool({ most: sendBuffers }) }, { writeStallTimeout }),
    denied: content,
  });
}

function registryOf(image: string): string {
  return image.slice(0, image.indexOf('/'));
}
