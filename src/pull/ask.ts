import type { UpstreamClient } from '../upstream/client.ts';
import { type Ranked, rankForBytes, rankForTags, refusalOf } from '../upstream/ranking.ts';
import type { UpstreamResult } from '../upstream/result.ts';
import { type Refusal, type Verdict, weigh } from './outcomes.ts';

/** The first upstream that had it, or the verdict over all that had not. */
export type Asked<T> =
  | Extract<UpstreamResult<T>, { kind: 'ok' }>
  | { readonly kind: 'refused'; readonly verdict: Verdict };

/** Something as small as a manifest, in bytes. */
const small = 4_096;

/**
 * Those that may be asked now; when that is none, those that seem to be down, since somebody has to be asked, but
 * never one that limits us: to ask it again is what it forbids.
 */
export function askable<T extends Ranked<UpstreamClient>>(ranked: readonly T[]): readonly T[] {
  const admitted = ranked.filter(({ bar }) => bar === undefined);
  return admitted.length > 0 ? admitted : ranked.filter(({ bar }) => bar?.kind !== 'limited');
}

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
 * and count as unavailable; when all are, they are asked nevertheless.
 */
export async function askInOrder<T>(
  ranked: readonly Ranked<UpstreamClient>[],
  ask: (upstream: UpstreamClient) => Promise<UpstreamResult<T>>,
): Promise<Asked<T>> {
  const worth = new Set(askable(ranked));
  const refusals: Refusal[] = [];
  for (const each of ranked) {
    const { health } = each.upstream;
    const pass = worth.has(each) ? health.admit() : undefined;
    if (pass === undefined || (pass.kind === 'no' && each.bar === undefined)) {
      refusals.push(refusalOf(each, 'ask'));
      continue;
    }
    try {
      health.began(small);
      const result = await ask(each.upstream);
      if (result.kind === 'ok') return result;
      refusals.push(result);
    } finally {
      pass.release();
    }
  }
  return { kind: 'refused', verdict: weigh(refusals) };
}
