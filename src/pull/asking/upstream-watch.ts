import type { Clock } from '../../lib/clock.ts';
import type { Log } from '../../lib/log.ts';
import type { Metadata } from '../../store/metadata.ts';
import { ProbeSchedule } from '../../upstream/health/probe.ts';
import { parseHealthSnapshot } from '../../upstream/health/snapshot.ts';
import type { Registry } from '../repository.ts';

/** Milliseconds between two looks at who is to be probed. */
const lookEvery = 1_000;

/** Looks between two writes of what is known. */
const saveEvery = 15;

/** Milliseconds after which a probe is given up. */
const probePatience = 10_000;

/**
 * Probes upstreams that traffic does not measure, so that one that is back or has become quick is known before a
 * client needs it, and keeps what is known of each over a restart.
 */
export class UpstreamWatch {
  readonly #deps: { registries: readonly Registry[]; metadata: Pick<Metadata, 'journal'>; log: Log };
  readonly #schedule: ProbeSchedule;
  readonly #ended = new AbortController();
  readonly #probes = new Set<Promise<void>>();
  readonly #states = new Map<object, string>();
  #timer: NodeJS.Timeout | undefined;
  #looks = 0;

  constructor(deps: {
    registries: readonly Registry[];
    metadata: Pick<Metadata, 'journal'>;
    clock: Clock;
    log: Log;
    random: () => number;
  }) {
    this.#deps = deps;
    this.#schedule = new ProbeSchedule(deps);
  }

  /** Takes up what was known when the server last ran, and begins to look. */
  async start(): Promise<void> {
    const { registries, metadata } = this.#deps;
    const known = await metadata.journal.upstreamHealth();
    for (const { name: registry, upstreams } of registries) {
      for (const { name, health } of upstreams) {
        const record = known.find((each) => each.registry === registry && each.upstream === name);
        const snapshot = record && parseHealthSnapshot(record.snapshot);
        if (snapshot !== undefined) health.restore(snapshot);
      }
    }
    this.#timer = setInterval(() => this.#look(), lookEvery);
    this.#timer.unref();
  }

  /** Ends the probes and writes what is known. */
  async close(): Promise<void> {
    clearInterval(this.#timer);
    this.#ended.abort(new Error('the server is stopping'));
    await Promise.all(this.#probes);
    await this.#save();
  }

  #look(): void {
    const upstreams = this.#deps.registries.flatMap((registry) => registry.upstreams);
    for (const upstream of upstreams) {
      const { state } = upstream.health;
      const before = this.#states.get(upstream) ?? 'closed';
      this.#states.set(upstream, state);
      if (state !== before)
        this.#deps.log.warn({ upstream: upstream.name, before, state }, 'upstream health changed');
    }
    for (const upstream of this.#schedule.due(upstreams)) {
      const signal = AbortSignal.any([this.#ended.signal, AbortSignal.timeout(probePatience)]);
      const probe = upstream
        .probe(signal)
        .then(() => undefined)
        // Its health was told; there is nobody else to tell.
        .catch(() => undefined)
        .finally(() => this.#probes.delete(probe));
      this.#probes.add(probe);
    }
    this.#looks += 1;
    if (this.#looks % saveEvery === 0) {
      this.#save().catch((error) =>
        this.#deps.log.error({ cause: String(error) }, 'upstream health not written'),
      );
    }
  }

  async #save(): Promise<void> {
    const records = this.#deps.registries.flatMap(({ name: registry, upstreams }) => {
      return upstreams.map(({ name: upstream, health }) => ({
        registry,
        upstream,
        snapshot: health.snapshot(),
      }));
    });
    await this.#deps.metadata.journal.putUpstreamHealth(records);
  }
}
