import { type Interval, RangeSet } from '../../lib/range-set.ts';
import type { Delivery } from '../fill/delivery.ts';
import type { FillSlot } from '../threads/fill-workers.ts';

type Range = Pick<Delivery, 'upstream' | 'start' | 'end'>;

/** Who brought which bytes of a copy that was wrong, and the digests of those, to compare them with a right copy. */
export type WrongCopy = {
  readonly upstreams: readonly string[];
  /** Whether the one upstream that there is must be to blame. */
  readonly certain: boolean;
  readonly ranges: readonly (Range & { readonly digest: string })[];
};

/**
 * Takes down who brought which bytes of a wrong copy, before that is thrown away.
 * @param leftover whether some of the bytes were there before, so that perhaps nobody here is to blame
 */
export async function recordWrongCopy(
  slot: FillSlot,
  deliveries: readonly Delivery[],
  leftover: boolean,
): Promise<WrongCopy> {
  const upstreams = [...new Set(deliveries.map(({ upstream }) => upstream))];
  if (upstreams.length === 0) return { upstreams, certain: false, ranges: [] };
  if (upstreams.length === 1 && !leftover) return { upstreams, certain: true, ranges: [] };
  const own = upstreams.flatMap((upstream) => ownRanges(upstream, deliveries));
  const digests = await slot.digests(own.map(({ start, end }) => [start, end]));
  const ranges = own.map((range, index) => ({ ...range, digest: digests[index] ?? '' }));
  return { upstreams, certain: false, ranges };
}

/** The bytes that only this upstream brought. Where two brought the same bytes, either may have put them into the file. */
function ownRanges(upstream: string, deliveries: readonly Delivery[]): readonly Range[] {
  const interval = ({ start, end }: Delivery): Interval => [start, end];
  const others = new RangeSet(deliveries.filter((each) => each.upstream !== upstream).map(interval));
  const mine = deliveries.filter((each) => each.upstream === upstream);
  return mine.flatMap((each) =>
    others.gaps(each.start, each.end).map(([start, end]) => ({ upstream, start, end })),
  );
}

/** The upstreams that brought other bytes of the wrong copy than those of the right one, which is in the file now. */
export async function blame(slot: FillSlot, { ranges }: WrongCopy): Promise<readonly string[]> {
  const digests = await slot.digests(ranges.map(({ start, end }) => [start, end]));
  const wrong = ranges.filter(({ digest }, index) => digest !== digests[index]);
  return [...new Set(wrong.map(({ upstream }) => upstream))];
}
