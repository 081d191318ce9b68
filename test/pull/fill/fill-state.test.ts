import fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  type FillEvent,
  type FillState,
  failureOf,
  isOver,
  isVerified,
  mayGoOn,
  nextFillState,
  shownIn,
} from '../../../src/pull/fill/fill-state.ts';

const failure = new Error('upstream went away');

/** One state of each kind. */
const states = {
  made: { kind: 'made' },
  waiting: { kind: 'waiting' },
  filling: { kind: 'filling', copy: 2 },
  judging: { kind: 'judging', copy: 2 },
  discarding: { kind: 'discarding', copy: 2 },
  verified: { kind: 'verified', copy: 2 },
  stored: { kind: 'stored', copy: 2 },
  cleaning: { kind: 'cleaning', failure },
  failed: { kind: 'failed', failure },
} as const satisfies Record<FillState['kind'], FillState>;

/** One event of each kind. */
const events = {
  started: { kind: 'started' },
  opened: { kind: 'opened' },
  whole: { kind: 'whole' },
  right: { kind: 'right' },
  discarded: { kind: 'discarded' },
  emptied: { kind: 'emptied' },
  stored: { kind: 'stored' },
  failed: { kind: 'failed', failure },
  cleaned: { kind: 'cleaned' },
} as const satisfies Record<FillEvent['kind'], FillEvent>;

/** All that can happen: in which state, and which state follows. */
const legal: Record<FillEvent['kind'], Partial<Record<FillState['kind'], FillState['kind']>>> = {
  started: { made: 'waiting' },
  // The worker that has its file open may end, but for while it is being stored.
  opened: { waiting: 'filling', filling: 'filling', judging: 'filling', discarding: 'filling' },
  whole: { filling: 'judging' },
  right: { judging: 'verified' },
  discarded: { filling: 'discarding', judging: 'discarding' },
  emptied: { discarding: 'filling' },
  stored: { verified: 'stored' },
  failed: {
    waiting: 'cleaning',
    filling: 'cleaning',
    judging: 'cleaning',
    discarding: 'cleaning',
    verified: 'cleaning',
  },
  cleaned: { cleaning: 'failed' },
};

function outcome(state: FillState, event: FillEvent, before?: FillState): FillState | 'refused' {
  try {
    return nextFillState(state, event, before);
  } catch (error) {
    expect(String(error)).toContain(`cannot be ${event.kind} while it is ${state.kind}`);
    return 'refused';
  }
}

test('what can happen in which state is this, and everything else is refused', () => {
  for (const event of Object.values(events)) {
    for (const state of Object.values(states)) {
      const next = outcome(state, event);
      const due = legal[event.kind][state.kind] ?? 'refused';
      expect(next === 'refused' ? next : next.kind, `${event.kind} while ${state.kind}`).toBe(due);
    }
  }
});

test('a fill neither begins nor is over before the one that came before it is', () => {
  for (const before of Object.values(states)) {
    const due = ['stored', 'failed'].includes(before.kind);
    const begins = outcome(states.waiting, events.opened, before) !== 'refused';
    const ends = outcome(states.cleaning, events.cleaned, before) !== 'refused';
    expect([begins, ends], before.kind).toEqual([due, due]);
  }
});

/** A fill of a digest, with what a careful observer notes of it. */
type Observed = {
  state: FillState;
  readonly before: Observed | undefined;
  /** The kinds of the states that it was in. */
  readonly past: FillState['kind'][];
  discarded: number;
  firstFailure: Error | undefined;
  /** The copies that readers were given something of, as long as they are not cut off. */
  readonly readers: Set<number>;
};

function observed(before: Observed | undefined): Observed {
  const state: FillState = { kind: 'made' };
  return { state, before, past: [], discarded: 0, firstFailure: undefined, readers: new Set() };
}

const step = fc.record({
  /** Which of the fills, as a share of them; mostly the latest. */
  which: fc.oneof(fc.constant(0), fc.nat(3)),
  event: fc.constantFrom(...Object.keys(events), 'opened', 'whole', 'read', 'again') as fc.Arbitrary<
    FillEvent['kind'] | 'read' | 'again'
  >,
});

function take(fill: Observed, kind: FillEvent['kind'], turn: number): FillState | undefined {
  const event = kind === 'failed' ? { kind, failure: new Error(`failure ${turn}`) } : events[kind];
  const next = outcome(fill.state, event, fill.before?.state);
  return next === 'refused' ? undefined : next;
}

/** Whether the file is its own: it writes it, or removes what it wrote. */
function holdsFile({ state, past }: Observed): boolean {
  const opened = state.kind === 'filling' || past.includes('filling');
  return opened && !isOver(state);
}

test('whatever happens in whatever order, the laws of a fill hold', () => {
  const seen = { stored: 0, failed: 0, replaced: 0, cut: 0, refused: 0, waited: 0 };
  fc.assert(
    fc.property(fc.array(step, { minLength: 10, maxLength: 120 }), (steps) => {
      const fills = [observed(undefined)];
      for (const [turn, { which, event }] of steps.entries()) {
        const fill = fills[Math.max(0, fills.length - 1 - which)] as Observed;
        if (event === 'again') {
          // Nobody joins one that has failed, and each other is joined.
          if (failureOf(fill.state) !== undefined && fill === fills.at(-1)) fills.push(observed(fill));
          continue;
        }
        const { state } = fill;
        if (event === 'read') {
          if (shownIn(state) !== 'nothing' && 'copy' in state) fill.readers.add(state.copy);
          continue;
        }
        const next = take(fill, event, turn);
        if (next === undefined) {
          seen.refused += 1;
          if (event === 'opened' && state.kind === 'waiting') seen.waited += 1;
          continue;
        }
        fill.past.push(state.kind);
        fill.state = next;
        if (event === 'discarded') fill.discarded += 1;
        if (event === 'failed') fill.firstFailure ??= failureOf(next);
        for (const given of fill.readers) {
          // Only what is thrown away cuts a reader off, and that cuts off all who have some of it.
          if (failureOf(next) === undefined) expect(mayGoOn(next, given)).toBe(given === fill.discarded);
          if (!mayGoOn(next, given)) {
            fill.readers.delete(given);
            seen.cut += 1;
          }
        }
        if (isVerified(next)) expect(fill.past).toContain('judging');
        if (next.kind === 'verified') expect(fill.past.at(-1)).toBe('judging');
        if (next.kind === 'stored') expect(fill.past.at(-1)).toBe('verified');
        if (next.kind === 'filling' && fill.discarded > 0) {
          expect(fill.past.filter((kind) => kind === 'discarding')).toHaveLength(fill.discarded);
          seen.replaced += 1;
        }
        // All is shown only once it is verified, and nothing once it has failed or is being thrown away.
        expect(shownIn(next) === 'all').toBe(isVerified(next));
        if (fill.firstFailure !== undefined || next.kind === 'discarding')
          expect(shownIn(next)).toBe('nothing');
        expect(failureOf(next)).toBe(fill.firstFailure);
        if (isOver(state)) throw new Error('nothing happens to a fill that is over');
        expect(fills.filter(holdsFile).length).toBeLessThanOrEqual(1);
        if (next.kind === 'stored') seen.stored += 1;
        if (next.kind === 'failed') seen.failed += 1;
      }
    }),
    { numRuns: 2_000 },
  );
  for (const [kind, count] of Object.entries(seen)) expect(count, kind).toBeGreaterThan(0);
});
