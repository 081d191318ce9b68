import type { Metrics } from '../lib/metrics.ts';
import { upstreamsOf } from '../pull/source.ts';
import type { UpstreamHealth } from '../upstream/health/health.ts';
import type { Site } from './site.ts';

/**
 * Shows how the upstreams of the site in use do: their state, what they still grant, and whether they are left alone for
 * wrong bytes; and what it syncs.
 */
export function showSite(metrics: Metrics, current: () => Site): void {
  const labels = ['registry', 'upstream'];
  const show = (name: string, help: string, value: (health: UpstreamHealth) => number | undefined) => {
    metrics.gauges(name, help, labels, () =>
      current().registries.flatMap((registry) =>
        upstreamsOf(registry).flatMap(({ name: upstream, health }) => {
          const shown = value(health);
          return shown === undefined ? [] : [{ labels: { registry: registry.name, upstream }, value: shown }];
        }),
      ),
    );
  };
  show(
    'entrepot_upstream_up',
    'Whether requests go to it: 1 yes, 0.5 it is being tried, 0 no.',
    ({ state }) => {
      return { closed: 1, 'half-open': 0.5, open: 0 }[state];
    },
  );
  show('entrepot_upstream_quarantined', 'Whether it is left alone because it sent wrong bytes.', (health) => {
    return health.describe().quarantinedUntil === undefined ? 0 : 1;
  });
  show('entrepot_upstream_budget_remaining', 'Requests that its rate limit still grants.', (health) => {
    return health.rateLimit.remaining;
  });
  show('entrepot_upstream_first_byte_seconds', 'Its usual time to the first byte.', ({ firstByteMs }) => {
    return firstByteMs === undefined ? undefined : firstByteMs / 1000;
  });
  show('entrepot_upstream_bytes_per_second', 'Its usual throughput of one connection.', (health) => {
    return health.bytesPerSecond;
  });
  metrics.gauge('entrepot_sync_active', 'Runs of scheduled images under way.', () => current().sync.active);
}
