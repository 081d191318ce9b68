import type { Clock } from '../../lib/clock.ts';
import type { Semaphore } from '../../lib/concurrency.ts';
import { Flights } from '../../lib/flights.ts';
import { OciError, type OciErrorCode } from '../../oci/errors.ts';
import type { UpstreamClient } from '../../upstream/client.ts';
import type { UpstreamResult } from '../../upstream/result.ts';
import { Absences } from '../asking/absences.ts';
import { type Asked, askInOrder, inTagOrder } from '../asking/ask.ts';
import { isOutage, staleCause, verdictError } from '../asking/outcomes.ts';
import { isFresh } from '../manifests/freshness.ts';
import { type Ask, imageName, type ResolvedRepository } from '../repository.ts';
import { upstreamsOf } from '../source.ts';
import type { HowListed } from './pages.ts';

/** One list: what it is called, where it is kept, and how upstreams are asked for it. */
export type Listed<F, K> = {
  /** Under which it is kept. */
  readonly name: string;
  /** As messages name it. */
  readonly title: string;
  /** How it is told that there is no such list. */
  readonly missing: OciErrorCode;
  /** The next step of whoever is told that it is missing. */
  readonly next: string;
  /** Bounds how many such lists are fetched, until they are kept, at once. */
  readonly limit?: Pick<Semaphore, 'acquire'>;
  /** What is kept of it. */
  kept(): Promise<K | undefined>;
  ask(upstream: UpstreamClient, signal: AbortSignal): Promise<UpstreamResult<F>>;
  /** Keeps what an upstream sent, in place of what was kept. */
  keep(fetched: F, signal: AbortSignal): Promise<K>;
  /** Forgets what is kept: there is no such list any more. */
  drop(): Promise<void>;
};

/** A list that is fresh, and how it came to be. */
type Fetched<K> = { readonly kept: K; readonly outcome: 'hit' | 'miss' };

/** Lists that are asked of upstreams once for all who wait, kept for a while, and served stale when none answers. */
export class FreshLists<F, K extends { readonly checkedAt: number }> {
  readonly #clock: Clock;
  readonly #absences: Absences;
  readonly #flights = new Flights<Fetched<K>>({ deadline: 120_000 });

  constructor(deps: { clock: Clock }) {
    this.#clock = deps.clock;
    this.#absences = new Absences(deps);
  }

  /**
   * The list as it is kept, asked for again when it is not fresh.
   * @throws OciError that there is none, `DENIED`, `TOOMANYREQUESTS` or `UNAVAILABLE`
   */
  async current(
    { target, signal }: Pick<Ask, 'target' | 'signal'>,
    listed: Listed<F, K>,
  ): Promise<HowListed & { readonly kept: K }> {
    const kept = await listed.kept();
    if (this.#fresh(target, kept)) return { kept, outcome: 'hit', staleBecause: undefined };
    const flight = `${imageName(target)} ${listed.name}`;
    try {
      const known = this.#absences.recall(flight);
      if (known !== undefined) throw known;
      const fetch = async (own: AbortSignal): Promise<Fetched<K>> => {
        // Others may have asked upstream since this was found not to be fresh.
        const again = await listed.kept();
        if (this.#fresh(target, again)) return { kept: again, outcome: 'hit' };
        return { kept: await this.#fetch({ target, signal: own }, listed, flight), outcome: 'miss' };
      };
      const { value, joined } = await this.#flights.join(flight, fetch, signal);
      const outcome = joined && value.outcome === 'miss' ? 'joined' : value.outcome;
      return { kept: value.kept, outcome, staleBecause: undefined };
    } catch (error) {
      if (!isOutage(error) || kept === undefined) throw error;
      return { kept, outcome: 'stale', staleBecause: staleCause(error) };
    }
  }

  /** Aborts what is under way, and resolves when it has ended. */
  close(): Promise<void> {
    return this.#flights.close();
  }

  #fresh(target: ResolvedRepository, kept: K | undefined): kept is K {
    return kept !== undefined && isFresh(kept.checkedAt, target.registry.tagTtl, this.#clock.now());
  }

  async #fetch(ask: Pick<Ask, 'target' | 'signal'>, listed: Listed<F, K>, flight: string): Promise<K> {
    const { registry } = ask.target;
    const release = listed.limit && (await placeIn(listed.limit, ask));
    try {
      const answer = await this.#ask(ask, listed);
      if (answer.kind === 'ok') return await listed.keep(answer.value, ask.signal);
      const error = verdictError(answer.verdict, listed.title, listed.missing, listed.next);
      this.#absences.remember(flight, error, registry.negativeTtl);
      if (answer.verdict.kind === 'missing') await listed.drop();
      throw error;
    } finally {
      release?.();
    }
  }

  /** A list changes and is not verified: it is asked of who may say what a tag names. */
  #ask({ target, signal }: Pick<Ask, 'target' | 'signal'>, listed: Listed<F, K>): Promise<Asked<F>> {
    const spendAndAsk = (upstream: UpstreamClient, own: AbortSignal) => {
      target.budget?.spend();
      return listed.ask(upstream, own);
    };
    return askInOrder(inTagOrder(upstreamsOf(target.registry)), spendAndAsk, signal);
  }
}

async function placeIn(
  limit: Pick<Semaphore, 'acquire'>,
  { target, signal }: Pick<Ask, 'target' | 'signal'>,
): Promise<() => void> {
  try {
    return await limit.acquire(signal);
  } catch (cause) {
    const message = `too many lists of ${target.registry.name} were asked for before this one: try again`;
    throw new OciError('UNAVAILABLE', message, { retryAfter: 5, cause });
  }
}
