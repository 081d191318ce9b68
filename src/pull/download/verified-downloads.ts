import type { Tell } from '../../lib/facts.ts';
import type { Log } from '../../lib/log.ts';
import { IntegrityError } from '../../oci/errors.ts';
import type { UpstreamClient } from '../../upstream/client.ts';
import type { HedgeBudget } from '../asking/hedge-budget.ts';
import { isAbsence } from '../asking/outcomes.ts';
import type { Fill } from '../fill/fill.ts';
import { bytesByUpstream } from '../fill/served.ts';
import type { PullFact } from '../pull-facts.ts';
import { imageName, type ResolvedRepository } from '../repository.ts';
import { upstreamsOf } from '../source.ts';
import type { FillSlot } from '../threads/fill-workers.ts';
import { culpritsOf, type Suspects, suspectsOf } from './blame.ts';
import { Download, type DownloadPatience } from './download.ts';
import { Sources } from './sources.ts';

/** What downloads work with, and whom they tell. */
export type DownloadDeps = {
  readonly log: Log;
  /** From 0 to below 1. */
  readonly random: () => number;
  readonly hedges: HedgeBudget;
  readonly facts: Tell<PullFact>;
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
    const all = upstreamsOf(target.registry);
    const first = this.#download(fill, target, slot, all);
    const leftover = fill.arrival.arrived().size > 0;
    try {
      await first.run(signal);
      this.#report(fill, target);
    } catch (error) {
      if (!(error instanceof IntegrityError)) throw error;
      const { log } = this.#deps;
      log.warn({ image: imageName(target), ...error }, 'wrong bytes discarded, fetching again');
      const { served } = fill;
      // Before anything that takes time: no reader may be shown what is known to be wrong.
      fill.note({ kind: 'discarded' });
      const suspects = await suspectsOf(slot, served, leftover);
      if (suspects.certain) this.#distrust(target, suspects.upstreams);
      await this.#again(fill, target, slot, { suspects, wrong: error }, signal);
    }
  }

  /** Fetches all from one upstream: from those above suspicion first, then from each of the others. */
  async #again(
    fill: Fill,
    target: ResolvedRepository,
    slot: FillSlot,
    { suspects, wrong }: { suspects: Suspects; wrong: IntegrityError },
    signal: AbortSignal,
  ): Promise<void> {
    const all = upstreamsOf(target.registry);
    const suspected = (upstream: UpstreamClient) => suspects.upstreams.includes(upstream.name);
    const again = suspects.certain && all.length > 1 ? [] : all.filter(suspected);
    const attempts = [...all.filter((upstream) => !suspected(upstream)), ...again];
    let failure: unknown;
    for (const upstream of attempts) {
      if (fill.state.kind !== 'discarding') fill.note({ kind: 'discarded' });
      await slot.reset();
      fill.note({ kind: 'emptied' });
      try {
        await this.#download(fill, target, slot, [upstream]).run(signal);
        if (!suspects.certain) this.#distrust(target, await culpritsOf(slot, suspects));
        this.#report(fill, target);
        return;
      } catch (error) {
        signal.throwIfAborted();
        // Where a liar told the size, an honest upstream is not to blame that its bytes cannot be right.
        if (error instanceof IntegrityError && fill.sizeGiven) this.#distrust(target, [upstream.name]);
        if (error instanceof IntegrityError) continue;
        // An upstream that lacks a blob says nothing about one that has it.
        if (!isAbsence(error)) failure ??= error;
      }
    }
    throw failure ?? wrong;
  }

  #download(
    fill: Fill,
    target: ResolvedRepository,
    slot: FillSlot,
    upstreams: readonly UpstreamClient[],
  ): Download {
    const { log, random, hedges } = this.#deps;
    const sources = new Sources(upstreams, { random });
    const now = () => performance.now();
    const own = target.budget?.bandwidths ?? [];
    const all = (upstream: UpstreamClient) => [...upstream.bandwidths, ...own];
    const job = { target, digest: fill.digest, fill, slot, sources, hedges, budgets: all, now };
    return new Download({ log }, job, this.#patience);
  }

  #distrust(target: ResolvedRepository, names: readonly string[]): void {
    for (const upstream of upstreamsOf(target.registry)) {
      if (!names.includes(upstream.name)) continue;
      upstream.health.quarantine('wrong bytes');
      this.#deps.facts.tell({ kind: 'upstream-distrusted', upstream: upstream.name });
      const registry = target.registry.name;
      this.#deps.log.warn({ registry, upstream: upstream.name }, 'upstream quarantined: it sent wrong bytes');
    }
  }

  #report({ digest, served }: Fill, target: ResolvedRepository): void {
    this.#deps.log.info(
      {
        image: imageName(target),
        digest,
        upstreams: bytesByUpstream(served),
        ranges: served.slice(0, mostShown).map(({ upstream, start, end }) => `${upstream} ${start}-${end}`),
        because: served[0]?.because,
      },
      'blob downloaded',
    );
  }
}

/** Ranges that one log line names. */
const mostShown = 32;
