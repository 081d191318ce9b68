import type { CacheOutcome } from '../repository.ts';

/** How a listing was come by. */
export type HowListed = {
  readonly outcome: CacheOutcome;
  /** Why a stale answer is stale. */
  readonly staleBecause: string | undefined;
};

/** Which tags of a listing are asked for: `n` after `last`, or as many as one page holds. */
export type PageAsked = { readonly n: number | undefined; readonly last: string | undefined };

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
