import type { FillSlot } from './fill-workers.ts';
import type { Served } from './served.ts';

/** Who brought the bytes of a copy that was wrong, and what they were, to compare with the right ones. */
export type Suspects = {
  readonly upstreams: readonly string[];
  /** Only one upstream can have been wrong. */
  readonly certain: boolean;
  readonly stretches: readonly (Served & { readonly digest: string })[];
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
  const digests = await slot.digests(served.map(({ start, end }) => [start, end]));
  return {
    upstreams,
    certain: false,
    stretches: served.map((each, index) => ({ ...each, digest: digests[index] ?? '' })),
  };
}

/** Compares a wrong copy with the right one that is there now: those who brought bytes that differ. */
export async function culpritsOf(slot: FillSlot, { stretches }: Suspects): Promise<readonly string[]> {
  const digests = await slot.digests(stretches.map(({ start, end }) => [start, end]));
  const wrong = stretches.filter(({ digest }, index) => digest !== digests[index]);
  return [...new Set(wrong.map(({ upstream }) => upstream))];
}
