import type { Clock } from '../../lib/clock.ts';
import type { Log } from '../../lib/log.ts';
import { ProbeSchedule } from '../../upstream/health/probe.ts';
import type { Registry } from '../repository.ts';
import { upstreamsOf } from '../source.ts';
import type { KnownHealth } from './known-health.ts';

/** Milliseconds between two looks at who is to be probed. */
const lookEvery = 1_000;

/** Looks between two writes of what is known. */
const saveEvery = 15;

/** Milliseconds after which a probe is given up. */
const probePatience = 10_000;

/**
 * Probes upstreams that traffic does not measure, so that one that is back or has become quick is known before a
 * client needs it, and has what is known of them written now and then.
 */
export class UpstreamWatch {
  readonly #deps: { registries: readonly Registry[]; known: KnownHealth; log: Log };
  readonly #schedule: ProbeSchedule;
  readonly #ended = new AbortController();
  readonly #probes = new Set<Promise<void>>();
  readonly #states = new Map<object, string>();
  #timer: NodeJS.Timeout | undefined;
  #looks = 0;

  constructor(deps: {
    registries: readonly Registry[];
    known: KnownHealth;
    clock: Clock;
    log: Log;
    random: () => number;
  }) {
    this.#deps = deps;
    this.#schedule = new ProbeSchedule(deps);
  }

  /** Begins to look. */
  start(): void {
    this.#timer = setInterval(() => this.#look(), lookEvery);
    this.#timer.unref();
  }

  /** Ends the probes and writes what is known. */
  async close(): Promise<void> {
    clearInterval(this.#timer);
    this.#ended.abort(new Error('the server is stopping'));
    await Promise.all(this.#probes);
    await this.#deps.known.save();
  }

  #look(): void {
    const upstreams = this.#deps.registries.flatMap(upstreamsOf);
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
      this.#deps.known
        .save()
        .catch((error) => this.#deps.log.error({ cause: String(error) }, 'upstream health not written'));
    }
  }
}
