import type { Log } from '../lib/log.ts';
import { IntegrityError } from '../oci/errors.ts';
import type { UpstreamClient } from '../upstream/client.ts';
import { culpritsOf, type Suspects, suspectsOf } from './culprits.ts';
import { Download, type DownloadPatience } from './download.ts';
import type { Fill } from './fill.ts';
import type { FillSlot } from './fill-workers.ts';
import type { HedgeBudget } from './hedge-budget.ts';
import { imageName, type ResolvedRepository } from './registry.ts';
import { Sources } from './sources.ts';

/** What downloads work with, and whom they tell. */
export type DownloadDeps = {
  readonly log: Log;
  /** From 0 to below 1. */
  readonly random: () => number;
  readonly hedges: HedgeBudget;
  /** The bandwidth budgets that a connection to an upstream has to keep. */
  readonly budgets: (upstream: UpstreamClient) => readonly SharedArrayBuffer[];
  /** A second request was sent because the first was late. */
  readonly hedged: () => void;
  /** An upstream sent wrong bytes. */
  readonly distrusted: (upstream: string) => void;
};

/**
 * Brings blobs into fills until their digest is right. Wrong bytes are fetched once more, all from one upstream, and
 * whoever sent them is not asked for content for a while.
 */
export class VerifiedDownloads {
  readonly #deps: DownloadDeps;
  readonly #patience: DownloadPatience;

  constructor(deps: DownloadDeps, options: { patience: DownloadPatience }) {
    this.#deps = deps;
    this.#patience = options.patience;
  }

  /** @throws as `Download.run` does; IntegrityError when the second copy is wrong as well */
  async run(fill: Fill, target: ResolvedRepository, slot: FillSlot, signal: AbortSignal): Promise<void> {
    const all = target.registry.upstreams;
    const first = this.#download(fill, target, slot, all);
    const leftover = fill.arrival.arrived().size > 0;
    try {
      await first.run(signal);
      this.#report(fill, target, first);
    } catch (error) {
      if (!(error instanceof IntegrityError)) throw error;
      const { log } = this.#deps;
      log.warn({ image: imageName(target), ...error }, 'wrong bytes discarded, fetching again');
      const suspects = await suspectsOf(slot, first.served, leftover);
      if (suspects.certain) this.#distrust(target, suspects.upstreams);
      await slot.reset();
      fill.restart();
      await this.#again(fill, target, slot, suspects, signal);
    }
  }

  async #again(
    fill: Fill,
    target: ResolvedRepository,
    slot: FillSlot,
    suspects: Suspects,
    signal: AbortSignal,
  ): Promise<void> {
    const all = target.registry.upstreams;
    const other = all.find(({ name }) => !suspects.upstreams.includes(name)) ?? all[0];
    // What was left over from an earlier run may have been wrong: then nobody is suspected.
    const sources = suspects.upstreams.length === 0 ? all : all.filter((upstream) => upstream === other);
    const second = this.#download(fill, target, slot, sources);
    await second.run(signal);
    if (!suspects.certain) this.#distrust(target, await culpritsOf(slot, suspects));
    this.#report(fill, target, second);
  }

  #download(
    fill: Fill,
    target: ResolvedRepository,
    slot: FillSlot,
    upstreams: readonly UpstreamClient[],
  ): Download {
    const { log, random, hedges, hedged, budgets } = this.#deps;
    const sources = new Sources(upstreams, { random });
    const now = () => performance.now();
    const job = { target, digest: fill.digest, fill, slot, sources, hedges, hedged, budgets, now };
    return new Download({ log }, job, this.#patience);
  }

  #distrust(target: ResolvedRepository, names: readonly string[]): void {
    for (const upstream of target.registry.upstreams) {
      if (!names.includes(upstream.name)) continue;
      upstream.health.quarantine('wrong bytes');
      this.#deps.distrusted(upstream.name);
      const registry = target.registry.name;
      this.#deps.log.warn({ registry, upstream: upstream.name }, 'upstream quarantined: it sent wrong bytes');
    }
  }

  #report(fill: Fill, target: ResolvedRepository, { served }: Download): void {
    const bytes: Record<string, number> = {};
    for (const { upstream, start, end } of served) bytes[upstream] = (bytes[upstream] ?? 0) + end - start;
    this.#deps.log.info(
      {
        image: imageName(target),
        digest: fill.digest,
        upstreams: bytes,
        ranges: served.slice(0, mostShown).map(({ upstream, start, end }) => `${upstream} ${start}-${end}`),
        because: served[0]?.because,
      },
      'blob downloaded',
    );
  }
}

/** Ranges that one log line names. */
const mostShown = 32;
