import type { HedgeBudget } from '../asking/hedge-budget.ts';
import type { Arrival } from '../fill/arrival.ts';
import { laneSlots } from '../threads/fill-progress.ts';
import type { Choice, Choices } from './choices.ts';
import type { Growth } from './growth.ts';
import type { LaneRun } from './lane.ts';
import type { Lanes } from './lanes.ts';
import { nextRange } from './range-plan.ts';

/** What a download is like at one moment. */
export type Look = {
  /** Milliseconds, monotonic. */
  readonly at: number;
  /** The positions that readers wait at, in ascending order. */
  readonly wanted: readonly number[];
  /** The upstreams that have brought bytes. */
  readonly helpers: ReadonlySet<string>;
};

/** A connection to open. */
export type Opening = {
  readonly choice: Choice;
  readonly start: number;
  /** `undefined`: to the end of the blob. */
  readonly end: number | undefined;
  /** The lane that has to end earlier for it, and where. */
  readonly cut: { readonly slot: number; readonly at: number } | undefined;
};

/** Decides which connection a download opens next: what it fetches, and from whom. */
export class LanePlan {
  readonly #arrival: Arrival;
  readonly #lanes: Lanes;
  readonly #choices: Choices;
  readonly #growth: Growth;
  readonly #hedges: HedgeBudget;

  constructor(deps: {
    arrival: Arrival;
    lanes: Lanes;
    choices: Choices;
    growth: Growth;
    hedges: HedgeBudget;
  }) {
    this.#arrival = deps.arrival;
    this.#lanes = deps.lanes;
    this.#choices = deps.choices;
    this.#growth = deps.growth;
    this.#hedges = deps.hedges;
  }

  /**
   * The next connection; `undefined` when another one would not help, or nobody may be asked. There are as many as growth
   * allows, and one more for a first byte that is late, for a reader whose bytes nobody brings soon, and for an upstream
   * that has helped and has nothing to do.
   */
  next(look: Look): Opening | undefined {
    const { size } = this.#arrival;
    if (size === undefined) return this.#first();
    if (this.#lanes.size >= laneSlots) return undefined;
    const late = this.#lanes.late(look.at);
    if (late !== undefined) return this.#hedge(late);
    const counts = this.#lanes.byUpstream();
    const fewer = this.#lanes.size < this.#growth.allowed || this.#hasIdleLine(look, counts);
    if ((!fewer && look.wanted.length === 0) || !this.#choices.haveRoom(counts)) return undefined;
    // In this order: what a lane brings meanwhile must not look like bytes that nobody brings.
    const lanes = this.#lanes.planned();
    const arrived = this.#arrival.arrived();
    const range = nextRange({ size, arrived, lanes, wanted: look.wanted });
    if (range === undefined || !(fewer || range.urgent)) return undefined;
    const alone = this.#lanes.size === 0;
    const choice = this.#choices.choose(range.end - range.start, counts, ({ name }) => {
      return alone || !this.#choices.isRangeless(name);
    });
    return choice && { choice, start: range.start, end: range.end, cut: range.cut };
  }

  /** While nobody knows where the blob ends there is one connection, for all of it. */
  #first(): Opening | undefined {
    const choice = this.#lanes.size === 0 ? this.#choices.choose(undefined, new Map()) : undefined;
    return choice && { choice, start: this.#arrival.arrived().runFrom(0), end: undefined, cut: undefined };
  }

  /** A second connection for the same bytes, to another upstream than the one that is late. */
  #hedge({ order: { start, end, upstream } }: LaneRun): Opening | undefined {
    const counts = this.#lanes.byUpstream();
    const choice = this.#choices.choose(end && end - start, counts, (other) => other !== upstream);
    if (choice === undefined || choice.excluded || !this.#hedges.take()) return undefined;
    return { choice: { ...choice, reason: `${upstream.name} is late` }, start, end, cut: undefined };
  }

  /** Whether an upstream that helped has nothing to do: where several lines help, none is to lie idle. */
  #hasIdleLine({ helpers }: Look, counts: ReadonlyMap<string, number>): boolean {
    if (this.#growth.allowed <= 1) return false;
    return [...helpers].some((name) => !counts.has(name) && this.#choices.mayHelp(name));
  }
}
