import { type Interval, RangeSet } from '../../lib/range-set.ts';
import type { Served } from '../fill/served.ts';
import type { FillSlot } from '../threads/fill-workers.ts';

type Stretch = Pick<Served, 'upstream' | 'start' | 'end'>;

/** Who brought the bytes of a copy that was wrong, and what they were, to compare with the right ones. */
export type Suspects = {
  readonly upstreams: readonly string[];
  /** Only one upstream can have been wrong. */
  readonly certain: boolean;
  readonly stretches: readonly (Stretch & { readonly digest: string })[];
};

/**
 * Notes who brought which bytes of a wrong copy, before it is thrown away.
 * @param leftover whether some of the bytes are of an earlier run, so that perhaps nobody here is to blame
 */
export async function suspectsOf(
  slot: FillSlot,
  served: readonly Served[],
  leftover: boolean,
): Promise<Suspects> {
  const upstreams = [...new Set(served.map(({ upstream }) => upstream))];
  if (upstreams.length === 0) return { upstreams, certain: false, stretches: [] };
  if (upstreams.length === 1 && !leftover) return { upstreams, certain: true, stretches: [] };
  const own = upstreams.flatMap((upstream) => stretchesOf(upstream, served));
  const digests = await slot.digests(own.map(({ start, end }) => [start, end]));
  return {
    upstreams,
    certain: false,
    stretches: own.map((each, index) => ({ ...each, digest: digests[index] ?? '' })),
  };
}

/** The bytes that only this upstream brought: of what two brought at once nobody knows whose is in the file. */
function stretchesOf(upstream: string, served: readonly Served[]): readonly Stretch[] {
  const interval = ({ start, end }: Served): Interval => [start, end];
  const others = new RangeSet(served.filter((each) => each.upstream !== upstream).map(interval));
  const mine = served.filter((each) => each.upstream === upstream);
  return mine.flatMap((each) =>
    others.gaps(each.start, each.end).map(([start, end]) => ({ upstream, start, end })),
  );
}

/** Compares a wrong copy with the right one that is there now: those who brought bytes that differ. */
export async function culpritsOf(slot: FillSlot, { stretches }: Suspects): Promise<readonly string[]> {
  const digests = await slot.digests(stretches.map(({ start, end }) => [start, end]));
  const wrong = stretches.filter(({ digest }, index) => digest !== digests[index]);
  return [...new Set(wrong.map(({ upstream }) => upstream))];
}
