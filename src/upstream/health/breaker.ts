import type { Clock } from '../../lib/clock.ts';
import { leftOf, type Period } from './period.ts';

/** `closed`: asked as usual; `open`: left alone; `half-open`: one request may find out whether it is back. */
export type BreakerState = 'closed' | 'open' | 'half-open';

/** Whether a request may go out: as usual, as the probe, or not. */
export type BreakerPermit = {
  readonly kind: 'yes' | 'probe' | 'no';
  /** To be called when the request has ended, however it ended; more calls do nothing. */
  release(): void;
};

/** Times in milliseconds. */
export type BreakerOptions = {
  /** Failures in a row that open it (3). */
  readonly failures?: number;
  /** The first pause (1 s); each further one without a success between is twice as long. */
  readonly firstPause?: number;
  /** The longest pause (60 s). */
  readonly longestPause?: number;
  /** How long the one request of a half-open breaker may take to report back before it counts as failed (30 s). */
  readonly probeDeadline?: number;
};

/** What a breaker remembers. */
export type BreakerSnapshot = {
  readonly state: BreakerState;
  readonly failures: number;
  readonly openings: number;
};

const nothing = () => {};

/**
 * A circuit breaker without a timer: what time changes is worked out when it is asked. It opens after failures in a
 * row, for a pause between half and the whole of its nominal length, then lets one request through.
 */
export class Breaker {
  readonly #clock: Clock;
  readonly #random: () => number;
  readonly #options: Required<BreakerOptions>;
  #failures = 0;
  #openings = 0;
  #pause: Period | undefined;
  #probe: Period | undefined;

  /** @param deps.random a number from 0 to below 1 */
  constructor(deps: { clock: Clock; random: () => number }, options: BreakerOptions = {}) {
    this.#clock = deps.clock;
    this.#random = deps.random;
    this.#options = {
      failures: 3,
      firstPause: 1000,
      longestPause: 60_000,
      probeDeadline: 30_000,
      ...options,
    };
  }

  get state(): BreakerState {
    this.#expireProbe();
    if (this.#pause === undefined) return 'closed';
    return leftOf(this.#pause, this.#clock.now()) > 0 ? 'open' : 'half-open';
  }

  /** Milliseconds until one request may probe; 0 unless open. */
  get openFor(): number {
    this.#expireProbe();
    return leftOf(this.#pause, this.#clock.now());
  }

  /** Milliseconds that the probe under way has left to report; 0 when there is none. */
  get probingFor(): number {
    this.#expireProbe();
    return leftOf(this.#probe, this.#clock.now());
  }

  /** Asks to send a request. A half-open breaker gives out one `probe` at a time. */
  admit(): BreakerPermit {
    const { state } = this;
    if (state === 'closed') return { kind: 'yes', release: nothing };
    if (state === 'open' || this.#probe !== undefined) return { kind: 'no', release: nothing };
    const probe = { since: this.#clock.now(), ms: this.#options.probeDeadline };
    this.#probe = probe;
    const release = () => {
      if (this.#probe === probe) this.#probe = undefined;
    };
    return { kind: 'probe', release };
  }

  /** A request succeeded: closes it and forgets its failures. */
  succeeded(): void {
    this.#close();
    this.#failures = 0;
    this.#openings = 0;
  }

  /**
   * An answer has begun: closes it, so that nobody waits for the end of a long transfer, but until a request comes
   * to a good end a single failure opens it again, for longer.
   */
  answering(): void {
    if (this.state === 'closed') return;
    this.#close();
    this.#failures = this.#options.failures - 1;
  }

  /** A request failed. While it is open this changes nothing: that request went out earlier. */
  failed(): void {
    const { state } = this;
    if (state === 'open') return;
    this.#failures += 1;
    if (state === 'half-open' || this.#failures >= this.#options.failures) this.#open(this.#clock.now());
  }

  /** What {@link Breaker.restore} takes. */
  snapshot(): BreakerSnapshot {
    return { state: this.state, failures: this.#failures, openings: this.#openings };
  }

  /** Takes up a breaker where it was left; one that was open may be tried at once. */
  restore(snapshot: BreakerSnapshot): void {
    this.#failures = snapshot.failures;
    this.#openings = snapshot.openings;
    this.#probe = undefined;
    this.#pause = snapshot.state === 'closed' ? undefined : { since: this.#clock.now(), ms: 0 };
  }

  #close(): void {
    this.#pause = undefined;
    this.#probe = undefined;
  }

  #open(since: number): void {
    const { firstPause, longestPause } = this.#options;
    const nominal = Math.min(longestPause, firstPause * 2 ** this.#openings);
    this.#openings += 1;
    this.#failures = 0;
    this.#probe = undefined;
    this.#pause = { since, ms: nominal * (0.5 + this.#random() / 2) };
  }

  /** The pause that follows a probe that never reported counts from its deadline, not from when it is noticed. */
  #expireProbe(): void {
    const now = this.#clock.now();
    if (this.#probe === undefined || leftOf(this.#probe, now) > 0) return;
    this.#open(Math.min(now, this.#probe.since + this.#probe.ms));
  }
}
