import { type Clock, systemClock } from '../../src/lib/clock.ts';

/** A clock that stands still until the test moves it. */
export type ManualClock = Clock & { advance(ms: number): void };

/** Makes a {@link ManualClock} that starts at the given time (milliseconds since the Unix epoch). */
export function makeManualClock(start = Date.UTC(2026, 0, 1)): ManualClock {
  let now = start;
  return {
    now: () => now,
    advance(ms) {
      now += ms;
    },
  };
}

/** Makes a clock that goes on by itself, so that speeds can be measured by it, and jumps when the test says so. */
export function makeJumpingClock(): ManualClock {
  let ahead = 0;
  return {
    now: () => systemClock.now() + ahead,
    advance(ms) {
      ahead += ms;
    },
  };
}
