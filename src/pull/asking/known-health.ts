import { neverAborted } from '../../lib/abort.ts';
import type { Clock } from '../../lib/clock.ts';
import { Semaphore } from '../../lib/concurrency.ts';
import type { Metadata } from '../../store/metadata.ts';
import { UpstreamHealth } from '../../upstream/health/health.ts';
import { parseHealthSnapshot } from '../../upstream/health/snapshot.ts';

/**
 * The health of upstreams by registry and name, for as long as the process runs and, through the index, beyond. Clients
 * of one upstream that are made one after the other share its health.
 */
export class KnownHealth {
  readonly #deps: { metadata: Pick<Metadata, 'journal'>; clock: Clock; random: () => number };
  readonly #stored = new Map<string, unknown>();
  /** Of two writes under way the older could come to count. */
  readonly #semaphore = new Semaphore({ most: 1 });
  readonly #known = new Map<
    string,
    { readonly registry: string; readonly upstream: string; readonly health: UpstreamHealth }
  >();

  constructor(deps: { metadata: Pick<Metadata, 'journal'>; clock: Clock; random: () => number }) {
    this.#deps = deps;
  }

  /** Reads what the index has of upstreams; what is asked for before that begins as unknown. */
  async load(): Promise<void> {
    for (const { registry, upstream, snapshot } of await this.#deps.metadata.journal.upstreamHealth()) {
      this.#stored.set(keyOf(registry, upstream), snapshot);
    }
  }

  /** The health of an upstream, by its registry's name and its own. */
  of(registry: string, upstream: string): UpstreamHealth {
    const key = keyOf(registry, upstream);
    const known = this.#known.get(key);
    if (known !== undefined) return known.health;
    const health = new UpstreamHealth(this.#deps);
    const snapshot = parseHealthSnapshot(this.#stored.get(key));
    if (snapshot !== undefined) health.restore(snapshot);
    this.#known.set(key, { registry, upstream, health });
    return health;
  }

  /** Writes what is known of the upstreams that were asked for, after what is being written; the index forgets others. */
  async save(): Promise<void> {
    const release = await this.#semaphore.acquire(neverAborted);
    try {
      const records = [...this.#known.values()].map(({ health, ...name }) => {
        return { ...name, snapshot: health.snapshot() };
      });
      await this.#deps.metadata.journal.putUpstreamHealth(records);
    } finally {
      release();
    }
  }
}

function keyOf(registry: string, upstream: string): string {
  return `${registry} ${upstream}`;
}
