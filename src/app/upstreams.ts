import type { Config, UpstreamConfig } from '../config/config.ts';
import type { Clock } from '../lib/clock.ts';
import type { Log } from '../lib/log.ts';
import type { Metrics } from '../lib/metrics.ts';
import { version } from '../lib/version.ts';
import type { Registry } from '../pull/repository.ts';
import { UpstreamClient } from '../upstream/client.ts';
import { UpstreamHealth } from '../upstream/health/health.ts';
import { Bandwidth } from '../upstream/wire/bandwidth.ts';

/** The registries of a configuration, each with the clients of its upstreams. */
export function buildRegistries(
  config: Config,
  deps: { log: Log; clock: Clock; metrics: Metrics; random: () => number },
): readonly Registry[] {
  const seconds = deps.metrics.seconds('entrepot_upstream_seconds', 'Upstream requests, by how they ended.', [
    'upstream',
    'op',
    'outcome',
  ]);
  const { offline } = config;
  return Object.entries(config.registries).map(([name, { upstreams, tagTtl, negativeTtl }]) => ({
    name,
    tagTtl,
    negativeTtl,
    offline,
    // Where none is asked there is none that could be.
    upstreams: (offline ? [] : upstreams).map((upstream) => {
      const label = new URL(upstream.url).host;
      const observe = (op: string, outcome: string, ms: number) => {
        seconds({ upstream: label, op, outcome }, ms / 1000);
      };
      const health = new UpstreamHealth({ clock: deps.clock, random: deps.random });
      return new UpstreamClient(
        { log: deps.log, clock: deps.clock, health, observe },
        upstreamOptions(config, upstream),
      );
    }),
  }));
}

/** Shows how each upstream does: its state, what it still grants, and whether it is left alone for wrong bytes. */
export function watchUpstreams(registries: readonly Registry[], metrics: Metrics): void {
  const all = registries.flatMap(({ name: registry, upstreams }) => {
    return upstreams.map(({ name: upstream, health }) => ({ labels: { registry, upstream }, health }));
  });
  const labels = ['registry', 'upstream'];
  const show = (name: string, help: string, value: (health: UpstreamHealth) => number | undefined) => {
    metrics.gauges(name, help, labels, () => {
      return all.flatMap((each) => {
        const shown = value(each.health);
        return shown === undefined ? [] : [{ labels: each.labels, value: shown }];
      });
    });
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
}

/** The budgets that a connection to an upstream keeps: its own, and that of all together. */
export function bandwidthBudgets(
  config: Config,
): (upstream: { readonly name: string }) => readonly SharedArrayBuffer[] {
  const make = (bytesPerSecond: number | undefined) => {
    return bytesPerSecond === undefined ? [] : [Bandwidth.make(bytesPerSecond).shared];
  };
  const total = make(config.limits.maxBandwidth);
  const own = new Map(
    Object.values(config.registries)
      .flatMap(({ upstreams }) => upstreams)
      .map(({ url, maxBandwidth }) => [url.replace(/^https?:\/\//, ''), make(maxBandwidth)] as const),
  );
  return ({ name }) => [...total, ...(own.get(name) ?? [])];
}

function upstreamOptions(
  config: Config,
  upstream: UpstreamConfig,
): ConstructorParameters<typeof UpstreamClient>[1] {
  return { ...upstream, proxy: config.outboundProxy, userAgent: `entrepot/${version}` };
}
