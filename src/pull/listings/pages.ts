import type { CacheOutcome } from '../repository.ts';

/** How a listing was come by. */
export type HowListed = {
  readonly outcome: CacheOutcome;
  /** Why a stale answer is stale. */
  readonly staleBecause: string | undefined;
};

/** One page of a tag listing. */
export type TagPage = HowListed & {
  readonly tags: readonly string[];
  /** Whether tags follow the last one of this page. */
  readonly more: boolean;
};

/** A referrers index as the upstream sent it. */
export type ReferrersAnswer = HowListed & {
  readonly body: Buffer;
  readonly mediaType: string;
  readonly filtersApplied: string | undefined;
};
