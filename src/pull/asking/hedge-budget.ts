import type { Tell } from '../../lib/facts.ts';
import type { PullFact } from '../pull-facts.ts';

/** Extra requests allowed for each one sent. */
const share = 0.03;

/** Extra requests that may be saved up. */
const most = 3;

/** Keeps second requests, sent because the first is late, to a few in a hundred. */
export class HedgeBudget {
  #saved = 1;
  readonly #facts: Tell<PullFact>;

  /** @param deps.facts is told of each extra request */
  constructor(deps: { facts: Tell<PullFact> }) {
    this.#facts = deps.facts;
  }

  /** A request was sent. */
  sent(): void {
    this.#saved = Math.min(most, this.#saved + share);
  }

  /** Takes leave for one extra request; `false` when there is none. */
  take(): boolean {
    if (this.#saved < 1) return false;
    this.#saved -= 1;
    this.#facts.tell({ kind: 'request-hedged' });
    return true;
  }
}
