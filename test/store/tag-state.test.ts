import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Digest } from '../../src/oci/digest.ts';
import type { TagRecord } from '../../src/store/tag-records.ts';
import { namedUpstream, nextTag, type TagOutcome, type TagStep } from '../../src/store/tag-state.ts';

const digests = ['a', 'b', 'c'].map((letter) => `sha256:${letter.repeat(64)}` as Digest);
const [a, b] = digests as [Digest, Digest];

/** What a step is about: what is recorded, something that was recorded before, or whatever there is. */
type Of = 'this' | 'another' | 'any';

/** A step without its time. */
type Plan =
  | { kind: 'served'; digest: Digest; upstream: string }
  | { kind: 'seen'; digest: Digest; upstream: string; confirms: boolean; of: Of }
  | { kind: 'imported' | 'locked' | 'rolled back'; digest: Digest }
  | { kind: 'released' }
  | { kind: 'dropped'; of: Of };

const digest = fc.constantFrom(...digests);
const upstream = fc.constantFrom('one', 'two');
const of = fc.constantFrom<Of>('this', 'another', 'any');
const plans: fc.Arbitrary<Plan> = fc.oneof(
  fc.record({ kind: fc.constant('served' as const), digest, upstream }),
  fc.record({ kind: fc.constant('seen' as const), digest, upstream, confirms: fc.boolean(), of }),
  fc.record({
    kind: fc.constantFrom('imported' as const, 'locked' as const, 'rolled back' as const),
    digest,
  }),
  fc.record({ kind: fc.constant('released' as const) }),
  fc.record({ kind: fc.constant('dropped' as const), of }),
);

type Move = { before: TagRecord | undefined; step: TagStep; outcome: TagOutcome; at: number };

function stepOf(plan: Plan, at: number, record: TagRecord | undefined): TagStep {
  if (!('of' in plan)) return { ...plan, at };
  const { of: about, ...step } = plan;
  const known =
    about === 'any' ? undefined : about === 'this' ? record : record && { ...record, checkedAt: -1 };
  return step.kind === 'dropped' ? { ...step, known } : { ...step, at, known };
}

/** What a tag goes through; time stands still between steps where `pause` is 0. */
function life(steps: readonly (readonly [Plan, pause: number])[]): readonly Move[] {
  const moves: Move[] = [];
  let record: TagRecord | undefined;
  let at = 1;
  for (const [plan, pause] of steps) {
    at += pause;
    const step = stepOf(plan, at, record);
    const outcome = nextTag(record, step);
    moves.push({ before: record, step, outcome, at });
    record = outcome.record;
  }
  return moves;
}

const lives = fc
  .array(fc.tuple(plans, fc.nat(2)), { minLength: 1, maxLength: 12 })
  .map((steps) => life(steps));

/** Checks a law at every step of many lives. */
function holds(law: (move: Move) => void): void {
  fc.assert(
    fc.property(lives, (moves) => moves.forEach(law)),
    { numRuns: 1000 },
  );
}

/** Whether a sighting confirms the tag: it says so, and the tag is still what it was when upstream was asked. */
function confirms(step: Extract<TagStep, { kind: 'seen' }>): boolean {
  return step.confirms && step.known?.checkedAt !== -1;
}

const fromUpstream = ['served', 'seen', 'imported'];

describe('a tag, whatever becomes of it,', () => {
  test('stays where it is pinned until it is set or released', () => {
    holds(({ before, step, outcome }) => {
      if (!before?.pinned || !fromUpstream.includes(step.kind)) return;
      expect(outcome.record).toMatchObject({ digest: before.digest, pinned: true });
    });
  });

  test('is not moved, pinned or released by what is only seen', () => {
    holds(({ before, step, outcome: { record } }) => {
      if (step.kind !== 'seen') return;
      expect(record === undefined).toBe(before === undefined);
      expect([record?.digest, record?.pinned, record?.changedAt]).toEqual([
        before?.digest,
        before?.pinned,
        before?.changedAt,
      ]);
      if (!confirms(step)) expect(record?.checkedAt).toBe(before?.checkedAt);
    });
  });

  test('has no candidate that is what it is served as', () => {
    holds(({ outcome: { record } }) => {
      if (record !== undefined) expect(record.candidate?.digest).not.toBe(record.digest);
    });
  });

  test('changes when its digest does, and only then', () => {
    holds(({ before, outcome: { record }, at }) => {
      if (record === undefined) return;
      expect(record.changedAt).toBe(before?.digest === record.digest ? before.changedAt : at);
    });
  });

  test('is served as what was fetched by it or carried in, unless it is pinned', () => {
    holds(({ before, step, outcome: { record }, at }) => {
      if ((step.kind !== 'served' && step.kind !== 'imported') || before?.pinned) return;
      expect(record).toMatchObject({
        digest: step.digest,
        checkedAt: at,
        candidate: undefined,
        pinned: false,
      });
    });
  });

  test('is served as what it is set to, pinned by a rollback, and knows what upstream says beside it', () => {
    holds(({ before, step, outcome: { record } }) => {
      if (step.kind !== 'locked' && step.kind !== 'rolled back') return;
      expect(record).toMatchObject({ digest: step.digest, pinned: step.kind === 'rolled back' });
      if (record !== undefined && before !== undefined) {
        expect(namedUpstream(record)).toBe(namedUpstream(before));
        expect(record.checkedAt).toBe(before.checkedAt);
      }
    });
  });

  test('is confirmed by upstream, by what is carried in and by its first setting; a release takes that away', () => {
    holds(({ before, step, outcome: { record, entry }, at }) => {
      if (record === undefined) return;
      const confirmed =
        step.kind === 'seen' ? confirms(step) : fromUpstream.includes(step.kind) || before === undefined;
      const released = step.kind === 'released' && entry !== undefined;
      expect(record.checkedAt).toBe(confirmed ? at : released ? 0 : before?.checkedAt);
    });
  });

  test('has one entry for each change of what upstream says, and none for what it says again', () => {
    holds(({ before, step, outcome: { record, entry }, at }) => {
      if (!fromUpstream.includes(step.kind) || record === undefined || !('digest' in step)) return;
      expect(namedUpstream(record)).toBe(step.digest);
      const old = before && namedUpstream(before);
      const told = {
        action: 'moved',
        old,
        new: step.digest,
        upstream: 'upstream' in step ? step.upstream : '',
        at,
      };
      expect(entry).toEqual(old === step.digest ? undefined : told);
    });
  });

  test('has one entry for each time that it is set to something else, or released, and none for a drop', () => {
    holds(({ before, step, outcome: { record, entry }, at }) => {
      if (fromUpstream.includes(step.kind)) return;
      const differs = before?.digest !== record?.digest || before?.pinned !== record?.pinned;
      const told = { action: step.kind, old: before?.digest, new: record?.digest, upstream: '', at };
      expect(entry).toEqual(differs && step.kind !== 'dropped' ? told : undefined);
    });
  });

  test('knows since when its candidate is one, which no repetition moves', () => {
    holds(({ before, outcome: { record }, at }) => {
      const candidate = record?.candidate;
      if (candidate === undefined) return;
      const known = before !== undefined && namedUpstream(before) === candidate.digest;
      expect(candidate.since).toBe(known ? (before.candidate?.since ?? before.changedAt) : at);
    });
  });

  test('goes when it is dropped as what it is, and stays when it has come to be something else', () => {
    holds(({ before, step, outcome: { record } }) => {
      if (step.kind !== 'dropped') return;
      const stale = step.known !== undefined && step.known.checkedAt !== before?.checkedAt;
      expect(record).toBe(stale ? before : undefined);
    });
  });
});

test('a tag that nobody knows is not made known by a sighting, a release or a drop', () => {
  const nothing = { record: undefined, entry: undefined };
  expect(nextTag(undefined, { kind: 'seen', digest: a, upstream: 'one', at: 1, confirms: true })).toEqual(
    nothing,
  );
  expect(nextTag(undefined, { kind: 'released', at: 1 })).toEqual(nothing);
  expect(nextTag(undefined, { kind: 'dropped', known: undefined })).toEqual(nothing);
});

test('a drop is of the digest, the confirmation and the pin that were known, whatever waits beside it', () => {
  const known = { digest: a, checkedAt: 1, changedAt: 1, pinned: false, candidate: undefined };
  const drop = { kind: 'dropped', known } as const;
  const waiting = { ...known, candidate: { digest: b, since: 1 } };
  expect(nextTag(waiting, drop).record).toBeUndefined();
  for (const other of [
    { ...known, digest: b },
    { ...known, pinned: true },
    { ...known, checkedAt: 2 },
  ]) {
    expect(nextTag(other, drop).record).toBe(other);
  }
});
