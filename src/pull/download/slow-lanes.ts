import type { Log } from '../../lib/log.ts';
import type { Digest } from '../../oci/digest.ts';
import { UpstreamError } from '../../upstream/result.ts';
import type { Choices } from './choices.ts';
import type { LaneRun } from './lane.ts';
import { type Lanes, plannedLane } from './lanes.ts';
import { secondsLeft } from './range-plan.ts';

/** Milliseconds below an upstream's `minSpeed` after which a lane is given up. */
const slowest = 5_000;

/** A lane is given up for one that is expected to be this many times quicker with what is left. */
const muchQuicker = 4;

/** Measures connections, and ends those that are too slow for what others could do. */
export class SlowLanes {
  readonly #lanes: Lanes;
  readonly #choices: Choices;
  readonly #log: Log;
  readonly #digest: Digest;

  constructor(deps: { lanes: Lanes; choices: Choices; log: Log }, options: { digest: Digest }) {
    this.#lanes = deps.lanes;
    this.#choices = deps.choices;
    this.#log = deps.log;
    this.#digest = options.digest;
  }

  /** Measures each connection, if it is time to. @param at milliseconds, monotonic */
  look(at: number): void {
    for (const run of this.#lanes.all) {
      const { upstream, throttled } = run.order;
      if (run.cancelled || !run.measure(at, throttled ? 0 : upstream.minSpeed)) continue;
      const slowFor = run.slowFor(at);
      if (slowFor >= slowest || (slowFor > 0 && this.#isHopeless(run))) this.#giveUp(run);
    }
  }

  /** Whether another upstream is expected to be much quicker with what it has left. */
  #isHopeless(run: LaneRun): boolean {
    const left = secondsLeft(plannedLane(run));
    if (left <= 1) return false;
    const bytes = run.stop - run.position;
    const other = this.#choices.choose(bytes, this.#lanes.byUpstream(), (upstream) => {
      return upstream !== run.order.upstream;
    });
    return other !== undefined && left > muchQuicker * (bytes / other.rate);
  }

  #giveUp(run: LaneRun): void {
    const { upstream } = run.order;
    const { name } = upstream;
    const rate = Math.round(run.rate);
    this.#log.warn({ digest: this.#digest, upstream: name, rate }, 'slow connection given up');
    upstream.health.observeFailure('stall');
    const cause = new UpstreamError('its connection became too slow', { upstream: name, op: 'get-blob' });
    this.#choices.leaveAlone({ kind: 'unavailable', upstream: name, cause });
    run.cancel();
  }
}
