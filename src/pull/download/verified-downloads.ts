import type { Tell } from '../../lib/facts.ts';
import type { Log } from '../../lib/log.ts';
import { IntegrityError } from '../../oci/errors.ts';
import type { UpstreamClient } from '../../upstream/client.ts';
import type { HedgeBudget } from '../asking/hedge-budget.ts';
import { isAbsence } from '../asking/outcomes.ts';
import { bytesByUpstream } from '../fill/delivery.ts';
import type { Fill } from '../fill/fill.ts';
import type { PullFact } from '../pull-facts.ts';
import { imageName, type ResolvedRepository } from '../repository.ts';
import { upstreamsOf } from '../source.ts';
import { FillStorageError, FillWorkerError } from '../threads/fill-errors.ts';
import type { FillSlot } from '../threads/fill-workers.ts';
import { blame, recordWrongCopy, type WrongCopy } from './blame.ts';
import { Choices } from './choices.ts';
import { Download } from './download.ts';
import type { DownloadPatience } from './rounds.ts';

/** What downloads work with. */
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
      const { deliveries } = fill;
      // Before anything that takes time: no reader may be shown what is known to be wrong.
      fill.note({ kind: 'discarded' });
      const copy = await recordWrongCopy(slot, deliveries, leftover);
      if (copy.certain) this.#distrust(target, copy.upstreams);
      await this.#again(fill, target, slot, { copy, wrong: error }, signal);
    }
  }

  /** Fetches all from one upstream: from those above suspicion first, then from each of the others. */
  async #again(
    fill: Fill,
    target: ResolvedRepository,
    slot: FillSlot,
    { copy, wrong }: { copy: WrongCopy; wrong: IntegrityError },
    signal: AbortSignal,
  ): Promise<void> {
    const all = upstreamsOf(target.registry);
    const suspected = (upstream: UpstreamClient) => copy.upstreams.includes(upstream.name);
    const again = copy.certain && all.length > 1 ? [] : all.filter(suspected);
    const attempts = [...all.filter((upstream) => !suspected(upstream)), ...again];
    let failure: unknown;
    for (const upstream of attempts) {
      if (fill.state.kind !== 'discarding') fill.note({ kind: 'discarded' });
      await slot.reset();
      fill.note({ kind: 'emptied' });
      try {
        await this.#download(fill, target, slot, [upstream]).run(signal);
        // The blob is right, whatever comes of the question whose bytes were wrong.
        if (!copy.certain) this.#distrust(target, await blame(slot, copy).catch(() => []));
        this.#report(fill, target);
        return;
      } catch (error) {
        signal.throwIfAborted();
        if (error instanceof FillStorageError || error instanceof FillWorkerError) throw error;
        // Where another upstream lied about the size, an honest one cannot bring the right bytes.
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
    const choices = new Choices(upstreams, { random });
    const now = () => performance.now();
    const own = target.budget?.bandwidths ?? [];
    const all = (upstream: UpstreamClient) => [...upstream.bandwidths, ...own];
    return new Download(
      { log, fill, slot, choices, hedges, bandwidths: all, now },
      { target, patience: this.#patience },
    );
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

  #report({ digest, deliveries }: Fill, target: ResolvedRepository): void {
    this.#deps.log.info(
      {
        image: imageName(target),
        digest,
        upstreams: bytesByUpstream(deliveries),
        ranges: deliveries
          .slice(0, mostShown)
          .map(({ upstream, start, end }) => `${upstream} ${start}-${end}`),
        because: deliveries[0]?.because,
      },
      'blob downloaded',
    );
  }
}

/** Ranges that one log line names. */
const mostShown = 32;
