import type { UpstreamClient } from '../upstream/client.ts';
import type { UpstreamResult } from '../upstream/result.ts';
import { type Refusal, type Verdict, weigh } from './outcomes.ts';

/** The first upstream that had it, or the verdict over all that had not. */
export type Asked<T> =
  | Extract<UpstreamResult<T>, { kind: 'ok' }>
  | ({ readonly kind: 'refused' } & { verdict: Verdict });

/** Asks upstreams one after the other until one has the content. */
export async function askInOrder<T>(
  upstreams: readonly UpstreamClient[],
  ask: (upstream: UpstreamClient) => Promise<UpstreamResult<T>>,
): Promise<Asked<T>> {
  const refusals: Refusal[] = [];
  for (const upstream of upstreams) {
    const result = await ask(upstream);
    if (result.kind === 'ok') return result;
    refusals.push(result);
  }
  return { kind: 'refused', verdict: weigh(refusals) };
}
