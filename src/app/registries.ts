import type { Config, UpstreamConfig } from '../config/config.ts';
import { version } from '../lib/version.ts';
import type { Registry } from '../pull/repository.ts';
import { UpstreamClient } from '../upstream/client.ts';
import { Bandwidth } from '../upstream/wire/bandwidth.ts';
import type { Ground } from './ground.ts';

/** The registries of a configuration, each with the clients of its upstreams. */
export function buildRegistries(config: Config, ground: Ground): readonly Registry[] {
  const { offline } = config;
  const total = bandwidthOf(config.limits.maxBandwidth);
  return Object.entries(config.registries).map(([name, { upstreams, tagTtl, negativeTtl }]) => ({
    name,
    tagTtl,
    negativeTtl,
    // Where none is asked there is none that could be.
    source: offline
      ? { kind: 'offline' }
      : {
          kind: 'mirror',
          upstreams: upstreams.map((each) => buildUpstream(name, each, { config, ground, total })),
        },
  }));
}

function buildUpstream(
  registry: string,
  upstream: UpstreamConfig,
  { config, ground, total }: { config: Config; ground: Ground; total: readonly SharedArrayBuffer[] },
): UpstreamClient {
  const { log, clock, facts, health } = ground;
  const { host } = new URL(upstream.url);
  return new UpstreamClient(
    {
      log,
      clock,
      health: (name) => health.of(registry, name),
      observe: (op, outcome, ms) =>
        facts.tell({ kind: 'upstream-answered', upstream: host, op, outcome, ms }),
    },
    {
      ...upstream,
      bandwidths: [...total, ...bandwidthOf(upstream.maxBandwidth)],
      proxy: config.outboundProxy,
      userAgent: `entrepot/${version}`,
    },
  );
}

function bandwidthOf(bytesPerSecond: number | undefined): readonly SharedArrayBuffer[] {
  return bytesPerSecond === undefined ? [] : [Bandwidth.make(bytesPerSecond).shared];
}
