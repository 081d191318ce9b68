import type { Clock } from '../../lib/clock.ts';
import { leftOf, type Period } from './period.ts';
import { parseRateHeaders, type RateNotice } from './rate-headers.ts';

/** Whether somebody waits for the answer. */
export type Priority = 'foreground' | 'background';

/** What is known of a rate limit, as plain JSON; `at` and `limited.since` in milliseconds since the Unix epoch, the notice in seconds. */
export type RateLimitSnapshot = {
  readonly notice?: { limit?: number; remaining?: number; window?: number; reset?: number; at: number };
  readonly limited?: Period;
  readonly strikes: number;
};

/** What a notice comes to as of now: milliseconds until it says nothing any more, and over which to spread. */
type Budget = {
  readonly limit: number | undefined;
  readonly remaining: number | undefined;
  readonly validFor: number;
  readonly spread: number;
};

const defaultWindow = 60 * 60;

/** How long a 429 that names no time is heeded, in milliseconds; doubles while nothing else is heard. */
const firstPenalty = 60_000;
const longestPenalty = 15 * 60_000;

/**
 * How many requests an upstream grants, by what its answers say. Work that no client waits for leaves a tenth of that
 * alone.
 */
export class RateLimit {
  readonly #clock: Clock;
  #notice: (RateNotice & { readonly at: number }) | undefined;
  #limited: Period | undefined;
  #strikes = 0;
  /** The pause that background work keeps after it asked. */
  #background: Period | undefined;

  constructor(deps: { clock: Clock }) {
    this.#clock = deps.clock;
  }

  /** Requests left by the last account; the whole limit once its window has passed; `undefined` when never told. */
  get remaining(): number | undefined {
    return this.#budget()?.remaining;
  }

  /** The limit by the last account. */
  get limit(): number | undefined {
    return this.#notice?.limit;
  }

  /** Whole seconds until something may be asked again, at least 1; `undefined` when it may be now. */
  retryAfter(now: number = this.#clock.now()): number | undefined {
    const left = leftOf(this.#limited, now);
    return left > 0 ? Math.max(1, Math.ceil(left / 1000)) : undefined;
  }

  /** Takes note of an answer's headers (lower-cased names), whatever its status. Never throws. */
  heard(headers: Readonly<Record<string, string>>): void {
    const now = this.#clock.now();
    const notice = parseRateHeaders(headers, now);
    if (notice !== undefined) this.#notice = { ...notice, at: now };
  }

  /**
   * Takes note of a 429. @param retryAfter the seconds it named; without it, the reset it announced, else a minute
   * that doubles up to 15 while 429 follows 429
   */
  limited(retryAfter: number | undefined): void {
    const now = this.#clock.now();
    const left = leftOf(this.#limited, now);
    const reset = this.#notice?.at === now ? this.#notice.reset : undefined;
    const named = retryAfter ?? reset;
    // Refusals of requests that were under way together count once.
    if (named === undefined && left > 0) return;
    const penalty = Math.min(longestPenalty, firstPenalty * 2 ** this.#strikes);
    const ms = named === undefined ? penalty : Math.max(1000, named * 1000);
    if (left === 0) this.#strikes += 1;
    if (ms > left) this.#limited = { since: now, ms };
  }

  /** Takes note that a request was served. */
  served(): void {
    if (leftOf(this.#limited, this.#clock.now()) === 0) this.#strikes = 0;
  }

  /** Whether a request may go out now; changes nothing. */
  mayAsk(priority: Priority): boolean {
    if (priority === 'background') return this.backgroundIn() === 0;
    return leftOf(this.#limited, this.#clock.now()) === 0;
  }

  /**
   * Milliseconds until background work may ask. It stops below a tenth of the limit (or 5), and what is left above
   * that is spread evenly over the time until the budget is whole again.
   */
  backgroundIn(): number {
    const now = this.#clock.now();
    const excluded = leftOf(this.#limited, now);
    const budget = this.#budget();
    if (excluded > 0 || budget?.remaining === undefined) return excluded;
    if (budget.remaining < reserveOf(budget)) return budget.validFor;
    return leftOf(this.#background, now);
  }

  /** Takes note that background work asks now. */
  askedInBackground(): void {
    const budget = this.#budget();
    const spare = budget?.remaining === undefined ? -1 : budget.remaining - reserveOf(budget);
    const ms = budget === undefined || spare < 0 ? 0 : budget.spread / (spare + 1);
    this.#background = { since: this.#clock.now(), ms };
  }

  /** What {@link RateLimit.restore} takes. */
  snapshot(): RateLimitSnapshot {
    const { limit, remaining, window, reset, at } = this.#notice ?? {};
    return {
      strikes: this.#strikes,
      ...(at !== undefined && {
        notice: {
          at,
          ...(limit !== undefined && { limit }),
          ...(remaining !== undefined && { remaining }),
          ...(window !== undefined && { window }),
          ...(reset !== undefined && { reset }),
        },
      }),
      ...(leftOf(this.#limited, this.#clock.now()) > 0 && this.#limited && { limited: this.#limited }),
    };
  }

  /** Takes up what was known; the time since then counts. */
  restore({ notice, limited, strikes }: RateLimitSnapshot): void {
    this.#notice = notice && {
      at: notice.at,
      limit: notice.limit,
      remaining: notice.remaining,
      window: notice.window,
      reset: notice.reset,
    };
    this.#limited = limited;
    this.#strikes = strikes;
  }

  #budget(): Budget | undefined {
    if (this.#notice === undefined) return undefined;
    const { limit, remaining, window, reset, at } = this.#notice;
    const now = this.#clock.now();
    const whole = (window ?? reset ?? defaultWindow) * 1000;
    const validFor = leftOf({ since: at, ms: reset === undefined ? whole : reset * 1000 }, now);
    if (validFor === 0) return { limit, remaining: limit, validFor: whole, spread: whole };
    // Without a reset the window rolls: what was spent comes back bit by bit over its whole length.
    return { limit, remaining, validFor, spread: reset === undefined ? whole : validFor };
  }
}

/** Requests that background work leaves to clients. */
function reserveOf({ limit }: Budget): number {
  return Math.max((limit ?? 0) / 10, 5);
}
