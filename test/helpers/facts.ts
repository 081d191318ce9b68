import { type Fact, Facts, type Tell } from '../../src/lib/facts.ts';
import type { PullFact } from '../../src/pull/pull-facts.ts';

/** Tells nobody. */
export const nobody: Tell<Fact> = { tell: () => undefined };

/** Facts of the pull room; a listener that throws fails the test. */
export function pullFacts(): Facts<PullFact> {
  return new Facts<PullFact>({
    failed: (error) => {
      throw error;
    },
  });
}
