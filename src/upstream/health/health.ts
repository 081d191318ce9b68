import type { Clock } from '../../lib/clock.ts';
import type { UpstreamErrorReason } from '../result.ts';
import { Breaker, type BreakerOptions, type BreakerPermit, type BreakerState } from './breaker.ts';
import { ageOf } from './period.ts';
import { Quarantine } from './quarantine.ts';
import { type Priority, RateLimit } from './rate-limit.ts';
import type { HealthSnapshot } from './snapshot.ts';
import { Speed, type Transfer } from './speed.ts';

/**
 * What became of a request that did not end well. No connection, no answer in time, a stall, a 5xx, TLS and
 * malformed HTTP count against an upstream; the rest is an answer, and so a sign of life.
 */
export type FailureKind = UpstreamErrorReason | 'stall' | 'server-error' | 'missing' | 'denied' | 'limited';

/** Why an upstream is not to be asked now, and for how many milliseconds. `probing`: another request is the probe. */
export type Exclusion = {
  readonly kind: 'open' | 'probing' | 'limited' | 'quarantined';
  readonly ms: number;
  /** For people, such as `breaker open for 4 s`. */
  readonly reason: string;
};

/** Whether a request may be sent, and why not. `release` as with {@link BreakerPermit}. */
type Permit =
  | (BreakerPermit & { readonly kind: 'yes' | 'probe' })
  | (BreakerPermit & { readonly kind: 'no'; readonly reason: string });

/** The state of an upstream, for metrics and logs. */
type HealthDescription = {
  readonly state: BreakerState;
  readonly firstByteMs: number | undefined;
  readonly bytesPerSecond: number | undefined;
  /** Requests left of its budget. */
  readonly remaining: number | undefined;
  /** Milliseconds since the Unix epoch. */
  readonly quarantinedUntil: number | undefined;
};

/** What counts against an upstream. */
const failures: ReadonlySet<FailureKind> = new Set<FailureKind>([
  'unreachable',
  'timeout',
  'stall',
  'server-error',
  'tls',
  'protocol',
]);

/**
 * What is known of one upstream: how quick it is, whether it answers, what it still grants, and whether it lied.
 * It sends nothing and has no timers.
 */
export class UpstreamHealth {
  /** What its answers say about the budget of requests. */
  readonly rateLimit: RateLimit;
  readonly #clock: Clock;
  readonly #breaker: Breaker;
  readonly #speed: Speed;
  readonly #quarantine: Quarantine;
  readonly #madeAt: number;
  #sampledAt: number | undefined;

  /** @param deps.random a number from 0 to below 1, for the length of pauses */
  constructor(deps: { clock: Clock; random: () => number }, options: { breaker?: BreakerOptions } = {}) {
    this.#clock = deps.clock;
    this.#madeAt = deps.clock.now();
    this.rateLimit = new RateLimit({ clock: deps.clock });
    this.#breaker = new Breaker(deps, options.breaker);
    this.#speed = new Speed(deps);
    this.#quarantine = new Quarantine(deps);
  }

  get state(): BreakerState {
    return this.#breaker.state;
  }

  /** The usual time to the first byte in milliseconds; `undefined` when not known of late. */
  get firstByteMs(): number | undefined {
    return this.#speed.firstByteMs;
  }

  /** The usual throughput of one connection; `undefined` when not known of late. */
  get bytesPerSecond(): number | undefined {
    return this.#speed.bytesPerSecond;
  }

  /** Milliseconds since anything was heard from it or tried in vain; since it was made when that never was. */
  get idleMs(): number {
    return ageOf(this.#sampledAt ?? this.#madeAt, this.#clock.now());
  }

  /** The time to the first byte that 19 of the last 20 requests kept, in milliseconds; `undefined` below 8 samples. */
  usualWorstFirstByte(): number | undefined {
    return this.#speed.usualWorstFirstByte;
  }

  /** Samples of what decides about a transfer of this size: throughput, or for a small one the time to the first byte. */
  samplesFor(bytes: number): number {
    return this.#speed.samplesFor(bytes);
  }

  /** Milliseconds since it was last asked for, or measured by, something of this size; `Infinity` if never. */
  unusedFor(bytes: number): number {
    return this.#speed.unusedFor(bytes);
  }

  /** Says that something of about this size is being asked for. */
  began(bytes: number): Transfer {
    const began = this.#clock.now();
    this.#speed.asked(bytes);
    let first: number | undefined;
    let over = false;
    return {
      firstByte: () => {
        if (over || first !== undefined) return;
        first = this.#clock.now();
        this.observeFirstByte(first - began);
      },
      ended: (received) => {
        if (over) return;
        over = true;
        this.observeTransfer(received, this.#clock.now() - (first ?? began));
      },
    };
  }

  /** An answer has begun, this many milliseconds after it was asked for. */
  observeFirstByte(ms: number): void {
    if (!this.#speed.addFirstByte(ms)) return;
    this.#sampled();
    this.#breaker.answering();
  }

  /** One connection brought so many bytes in so many milliseconds; too few bytes tell nothing. */
  observeTransfer(bytes: number, ms: number): void {
    if (!this.#speed.addTransfer(bytes, ms)) return;
    this.#sampled();
    this.#breaker.answering();
  }

  /** A request succeeded. */
  observeSuccess(): void {
    this.#sampled();
    this.#breaker.succeeded();
    this.rateLimit.served();
  }

  /** A request failed, or was refused. */
  observeFailure(kind: FailureKind): void {
    this.#sampled();
    if (failures.has(kind)) this.#breaker.failed();
    else this.#breaker.succeeded();
    if (kind === 'limited') this.rateLimit.limited(undefined);
  }

  /** A request was answered with this status. @param retryAfter the seconds that a 429 named */
  observeAnswer(status: number, retryAfter?: number): void {
    // 501 says that it does not know the method, not that it is unwell.
    if (status >= 500 && status !== 501) {
      this.observeFailure('server-error');
      return;
    }
    this.#sampled();
    this.#breaker.succeeded();
    if (status === 429) this.rateLimit.limited(retryAfter);
    else if (status < 400) this.rateLimit.served();
  }

  /**
   * Takes the upstream out for content, since it served wrong bytes: for `ms` (10 minutes), twice as long each time
   * again, a day at most. What is found out meanwhile adds nothing; after a day of good conduct it starts over.
   */
  quarantine(reason: string, ms?: number): void {
    this.#quarantine.begin(reason, ms);
  }

  /** Why it is not to be asked now; quarantine is for content only. Changes nothing. */
  exclusionFor(purpose: 'content' | 'tags'): Exclusion | undefined {
    const quarantined = purpose === 'content' ? this.#quarantine.left : 0;
    if (quarantined > 0) {
      return { kind: 'quarantined', ms: quarantined, reason: `quarantined: ${this.#quarantine.reason}` };
    }
    const limited = this.rateLimit.retryAfter(this.#clock.now());
    if (limited !== undefined) {
      return { kind: 'limited', ms: limited * 1000, reason: `rate-limited for ${limited} s` };
    }
    const { openFor: open, probingFor: probing } = this.#breaker;
    if (open > 0) return { kind: 'open', ms: open, reason: `breaker open for ${Math.ceil(open / 1000)} s` };
    if (probing > 0)
      return { kind: 'probing', ms: probing, reason: 'another request finds out if it is back' };
    return undefined;
  }

  /**
   * Asks to send a request now; the breaker and the budget decide, quarantine does not. To be released when the
   * request has ended. Its outcome is told by `observe…`.
   */
  admit(priority: Priority = 'foreground'): Permit {
    const exclusion = this.exclusionFor('tags');
    if (exclusion !== undefined) return refused(exclusion.reason);
    if (!this.rateLimit.mayAsk(priority)) return refused('its budget of requests is kept for those who wait');
    const { kind, release } = this.#breaker.admit();
    if (kind === 'no') return refused('another request finds out if it is back');
    if (priority === 'background') this.rateLimit.askedInBackground();
    return { kind, release };
  }

  describe(): HealthDescription {
    const quarantined = this.#quarantine.left;
    return {
      state: this.state,
      firstByteMs: this.firstByteMs,
      bytesPerSecond: this.bytesPerSecond,
      remaining: this.rateLimit.remaining,
      quarantinedUntil: quarantined > 0 ? this.#clock.now() + quarantined : undefined,
    };
  }

  /** All of it, as plain JSON. */
  snapshot(): HealthSnapshot {
    const quarantine = this.#quarantine.snapshot();
    return {
      version: 1,
      at: this.#clock.now(),
      ...(this.#sampledAt !== undefined && { sampledAt: this.#sampledAt }),
      pace: this.#speed.snapshot(),
      breaker: this.#breaker.snapshot(),
      bank: this.rateLimit.snapshot(),
      ...(quarantine && { quarantine }),
    };
  }

  /** Takes up what was known; the time since then counts, and a breaker that was open may be tried at once. */
  restore(snapshot: HealthSnapshot): void {
    this.#sampledAt = snapshot.sampledAt;
    this.#speed.restore(snapshot.pace);
    this.#breaker.restore(snapshot.breaker);
    this.rateLimit.restore(snapshot.bank);
    this.#quarantine.restore(snapshot.quarantine);
  }

  #sampled(): void {
    this.#sampledAt = this.#clock.now();
  }
}

function refused(reason: string): Permit {
  return { kind: 'no', reason, release: () => {} };
}
