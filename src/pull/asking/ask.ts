import { orAfter } from '../../lib/abort.ts';
import type { UpstreamClient } from '../../upstream/client.ts';
import { askable, type Ranked, rankForBytes, rankForTags, refusalOf } from '../../upstream/health/ranking.ts';
import type { UpstreamResult } from '../../upstream/result.ts';
import type { HedgeBudget } from './hedge-budget.ts';
import { type Verdict, weigh } from './outcomes.ts';

/** The first upstream that had it, or the verdict over all that had not. */
export type Asked<T> =
  | Extract<UpstreamResult<T>, { kind: 'ok' }>
  | { readonly kind: 'refused'; readonly verdict: Verdict };

/** Something as small as a manifest, in bytes. */
const small = 4_096;

/** The upstreams that may be asked what a tag means: in the listed order, the unhealthy last. */
export function inTagOrder(upstreams: readonly UpstreamClient[]): readonly Ranked<UpstreamClient>[] {
  return rankForTags(upstreams);
}

/** The upstreams for something small that is named by its digest: the quickest first. */
export function inContentOrder(
  upstreams: readonly UpstreamClient[],
  random: () => number,
): readonly Ranked<UpstreamClient>[] {
  return rankForBytes(upstreams, small, random);
}

/**
 * Asks upstreams one after the other until one has the content. Those that are not to be asked now are passed over,
 * and count as what excluded them.
 * @param ask its signal ends one upstream's attempt, and is aborted with `signal`
 * @param hedging permits to ask the next one already when an answer is later than is usual for its upstream
 */
export async function askInOrder<T>(
  ranked: readonly Ranked<UpstreamClient>[],
  ask: (upstream: UpstreamClient, signal: AbortSignal) => Promise<UpstreamResult<T>>,
  signal: AbortSignal,
  hedging?: HedgeBudget,
): Promise<Asked<T>> {
  const worth = new Set(askable(ranked));
  const refusals = ranked.filter((each) => !worth.has(each)).map((each) => refusalOf(each, 'ask'));
  const waiting = [...worth];
  const attempts = new Set<Attempt<T>>();
  try {
    for (;;) {
      const next = attempts.size === 0 ? waiting.shift() : undefined;
      if (next !== undefined) attempts.add(begin(next, ask, signal));
      if (attempts.size === 0) return { kind: 'refused', verdict: weigh(refusals) };
      const settled = await firstToSettle(attempts, waiting.length > 0 ? hedging : undefined, signal);
      if (settled === 'late') {
        const [other] = waiting.splice(0, 1);
        if (other !== undefined) attempts.add(begin(other, ask, signal));
        continue;
      }
      attempts.delete(settled.attempt);
      if (settled.result.kind === 'ok') return settled.result;
      refusals.push(settled.result);
    }
  } finally {
    for (const { cancel } of attempts) cancel();
  }
}

type Attempt<T> = {
  readonly settled: Promise<{ readonly attempt: Attempt<T>; readonly result: UpstreamResult<T> }>;
  /** Milliseconds after which its answer is late; `undefined` when nothing is known of its upstream. */
  readonly usual: number | undefined;
  cancel(): void;
};

function begin<T>(
  ranked: Ranked<UpstreamClient>,
  ask: (upstream: UpstreamClient, signal: AbortSignal) => Promise<UpstreamResult<T>>,
  signal: AbortSignal,
): Attempt<T> {
  const { upstream, exclusion } = ranked;
  const own = new AbortController();
  const run = async () => {
    const pass = upstream.health.admit();
    if (pass.kind === 'no' && exclusion === undefined) return refusalOf(ranked, 'ask');
    try {
      upstream.health.began(small);
      return await ask(upstream, AbortSignal.any([own.signal, signal]));
    } finally {
      pass.release();
    }
  };
  const attempt: Attempt<T> = {
    settled: run().then((result) => ({ attempt, result })),
    usual: upstream.health.usualWorstFirstByte(),
    cancel: () => own.abort(new Error('another upstream answered first')),
  };
  // One that was cancelled has nobody to tell.
  attempt.settled.catch(() => undefined);
  return attempt;
}

async function firstToSettle<T>(
  attempts: ReadonlySet<Attempt<T>>,
  hedging: HedgeBudget | undefined,
  signal: AbortSignal,
): Promise<Awaited<Attempt<T>['settled']> | 'late'> {
  const [only] = attempts;
  const settled = Promise.race([...attempts].map((attempt) => attempt.settled));
  hedging?.sent();
  if (hedging === undefined || attempts.size > 1 || only?.usual === undefined) return settled;
  const first = await orAfter<Awaited<typeof settled> | 'late'>(settled, only.usual, signal, () => 'late');
  if (first !== 'late') return first;
  return hedging.take() ? 'late' : settled;
}
