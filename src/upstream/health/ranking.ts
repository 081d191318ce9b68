import { formatSize } from '../../lib/units.ts';
import { UpstreamError, type UpstreamRefusal } from '../result.ts';
import type { Exclusion, UpstreamHealth } from './health.ts';

/** What is ranked: an `UpstreamClient`, or anything that knows these of itself. */
type Candidate = {
  readonly name: string;
  readonly tags: boolean;
  readonly health: UpstreamHealth;
};

/** A candidate in its place. */
export type Ranked<T extends Candidate> = {
  readonly upstream: T;
  /** Why it is not to be asked now, if so; the candidates with an exclusion come last. */
  readonly exclusion: Exclusion | undefined;
  /** It is first to be measured, not for being the quickest. */
  readonly exploring: boolean;
  /** When the transfer is expected to be complete, in seconds. */
  readonly expected: number;
  /** Why it is where it is, for a log line. */
  readonly reason: string;
};

/** What is assumed of an upstream that nothing is known of. */
type Priors = { readonly firstByteMs: number; readonly bytesPerSecond: number };

/** The share of choices in which one that is little known or long unused is put first. */
const exploredShare = 1 / 20;

/** An upstream with fewer samples is a newcomer. */
const newcomerSamples = 3;

/** One that was not measured for so many milliseconds is put first once, as soon as there is something to fetch. */
const staleAfter = 60_000;

/** The size assumed of a transfer of unknown size. */
const usualBytes = 8 * 1024 * 1024;

const unknownPriors: Priors = { firstByteMs: 100, bytesPerSecond: 10_000_000 };

const exclusionOrder = { probing: 1, open: 1, limited: 2, quarantined: 3 } as const satisfies Record<
  Exclusion['kind'],
  number
>;

/**
 * All candidates, the one that is expected to deliver `bytes` soonest first; those behind a half-open breaker after
 * the rest, then those that are excluded, the least bad first. Now and then one is put first to be measured; call its
 * `health.began(bytes)` when it is asked, or it will be put first again.
 * @param bytes `undefined` when not known
 * @param random a number from 0 to below 1
 */
export function rankForBytes<T extends Candidate>(
  candidates: readonly T[],
  bytes: number | undefined,
  random: () => number,
): readonly Ranked<T>[] {
  const size = bytes ?? usualBytes;
  const priors = priorsOf(candidates);
  const ranked = candidates
    .map((upstream) => judge(upstream, size, priors))
    .toSorted((a, b) => tierOf(a) - tierOf(b) || costOf(a) - costOf(b));
  const explored = toExplore(
    ranked.filter(({ exclusion }) => exclusion === undefined),
    size,
    random,
  );
  if (explored === undefined) return ranked;
  const first = { ...explored, exploring: true, reason: `exploring (${explored.reason})` };
  return [first, ...ranked.filter((other) => other !== explored)];
}

/** The candidates that may be asked what a tag means, in the listed order; those that are excluded last. */
export function rankForTags<T extends Candidate>(candidates: readonly T[]): readonly Ranked<T>[] {
  const ranked = candidates
    .filter(({ tags }) => tags)
    .map((upstream): Ranked<T> => {
      const exclusion = upstream.health.exclusionFor('tags');
      const expected = expectedSeconds(upstream.health, 0);
      return {
        upstream,
        exclusion,
        exploring: false,
        expected,
        reason: exclusion?.reason ?? 'in the listed order',
      };
    });
  return [...ranked.filter(({ exclusion }) => !exclusion), ...ranked.filter(({ exclusion }) => exclusion)];
}

/**
 * The candidates that may be asked now. When there are none: those that seem to be down, since one has to be asked, but
 * never one that has limited us, since it forbids to be asked again.
 */
export function askable<T extends Ranked<Candidate>>(ranked: readonly T[]): readonly T[] {
  const admitted = ranked.filter(({ exclusion }) => exclusion === undefined);
  return admitted.length > 0 ? admitted : ranked.filter(({ exclusion }) => exclusion?.kind !== 'limited');
}

/**
 * The refusal that stands for a candidate that was not asked. It keeps a 404 of the others from counting as gone.
 * @param op what it would have been asked for
 */
export function refusalOf(
  { upstream: { name, health }, reason }: Ranked<Candidate>,
  op: string,
): UpstreamRefusal {
  const retryAfter = health.rateLimit.retryAfter();
  if (retryAfter !== undefined) return { kind: 'limited', upstream: name, retryAfter };
  const cause = new UpstreamError(`it is not asked now (${reason})`, {
    upstream: name,
    op,
    reason: 'unreachable',
  });
  return { kind: 'unavailable', upstream: name, cause };
}

/** When a transfer of so many bytes is expected to be complete, in seconds; what is not known is assumed. */
export function expectedSeconds(
  health: UpstreamHealth,
  bytes: number,
  priors: Priors = unknownPriors,
): number {
  const firstByteMs = health.firstByteMs ?? priors.firstByteMs;
  return firstByteMs / 1000 + bytes / (health.bytesPerSecond ?? priors.bytesPerSecond);
}

/** What is assumed of an unknown upstream: half-way between the best known and the median, so that it is tried. */
function priorsOf(candidates: readonly Candidate[]): Priors {
  const firstBytes = known(candidates.map(({ health }) => health.firstByteMs)).toSorted((a, b) => a - b);
  const rates = known(candidates.map(({ health }) => health.bytesPerSecond)).toSorted((a, b) => b - a);
  return {
    firstByteMs: hopeful(firstBytes) ?? unknownPriors.firstByteMs,
    bytesPerSecond: hopeful(rates) ?? unknownPriors.bytesPerSecond,
  };
}

function hopeful(bestFirst: readonly number[]): number | undefined {
  const [best] = bestFirst;
  const median = bestFirst[Math.floor(bestFirst.length / 2)];
  return best === undefined || median === undefined ? undefined : (best + median) / 2;
}

function known(values: readonly (number | undefined)[]): number[] {
  return values.filter((value) => value !== undefined);
}

function judge<T extends Candidate>(upstream: T, size: number, priors: Priors): Ranked<T> {
  const { health } = upstream;
  const exclusion = health.exclusionFor('content');
  const expected = expectedSeconds(health, size, priors);
  const text = `expected ${expected.toFixed(expected < 10 ? 1 : 0)} s for ${formatSize(size)}`;
  const reason = exclusion?.reason ?? (health.state === 'closed' ? text : `half-open, ${text}`);
  return { upstream, exclusion, exploring: false, expected, reason };
}

function tierOf({ exclusion, upstream }: Ranked<Candidate>): number {
  if (exclusion !== undefined) return 1 + exclusionOrder[exclusion.kind];
  return upstream.health.state === 'closed' ? 0 : 1;
}

function costOf({ exclusion, expected }: Ranked<Candidate>): number {
  return exclusion === undefined ? expected : exclusion.ms;
}

function toExplore<T extends Candidate>(
  [best, ...others]: readonly Ranked<T>[],
  size: number,
  random: () => number,
): Ranked<T> | undefined {
  // Asking the best one measures it as well.
  if (best === undefined || others.length === 0 || isOverdue(best, size)) return undefined;
  const overdue = others.filter((other) => isOverdue(other, size));
  if (overdue.length > 0) {
    return overdue.reduce((a, b) => {
      return b.upstream.health.unusedFor(size) > a.upstream.health.unusedFor(size) ? b : a;
    });
  }
  const newcomers = others.filter(({ upstream: { health } }) => {
    return health.state === 'closed' && health.samplesFor(size) < newcomerSamples;
  });
  if (newcomers.length === 0 || random() >= exploredShare) return undefined;
  return newcomers[Math.floor(random() * newcomers.length)];
}

/** Whether it was not measured for too long. One that was down is left to the probes: no client waits for it. */
function isOverdue({ upstream: { health } }: Ranked<Candidate>, size: number): boolean {
  const heardOf = health.state === 'closed' || health.idleMs >= staleAfter;
  return heardOf && health.unusedFor(size) >= staleAfter;
}
