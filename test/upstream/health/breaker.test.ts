import fc from 'fast-check';
import { expect, it } from 'vitest';
import { Breaker } from '../../../src/upstream/health/breaker.ts';
import { makeManualClock } from '../../helpers/manual-clock.ts';

function openBreaker(random: () => number = () => 0.999) {
  const clock = makeManualClock();
  return { clock, breaker: new Breaker({ clock, random }) };
}

function fail(breaker: Breaker, times: number): void {
  for (let n = 0; n < times; n++) breaker.failed();
}

/** Anything that can happen to a breaker. */
const step = fc.oneof(
  fc.constantFrom('failed', 'succeeded', 'answering', 'admit', 'release', 'restore'),
  fc.integer({ min: 1, max: 200_000 }),
);
const history = fc.array(step, { maxLength: 80 });
const draws = fc.infiniteStream(fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }));

function live(
  { breaker, clock }: ReturnType<typeof openBreaker>,
  steps: readonly (string | number)[],
  each: () => void,
): void {
  const passes: { release(): void }[] = [];
  for (const what of steps) {
    if (typeof what === 'number') clock.advance(what);
    else if (what === 'admit') passes.push(breaker.admit());
    else if (what === 'release') passes.pop()?.release();
    else if (what === 'restore') breaker.restore(breaker.snapshot());
    else if (what === 'failed' || what === 'succeeded' || what === 'answering') breaker[what]();
    each();
  }
}

it('opens after three failures in a row, but not when a success comes between', () => {
  const { breaker } = openBreaker();
  fail(breaker, 2);
  breaker.succeeded();
  fail(breaker, 2);
  expect(breaker.state).toBe('closed');
  fail(breaker, 1);
  expect(breaker.state).toBe('open');
  expect(breaker.admit().kind).toBe('no');
});

it('pauses twice as long each time, up to a minute', () => {
  const { breaker, clock } = openBreaker();
  fail(breaker, 3);
  const pauses: number[] = [];
  for (let n = 0; n < 9; n++) {
    pauses.push(Math.round(breaker.openFor / 1000));
    clock.advance(breaker.openFor);
    expect(breaker.state).toBe('half-open');
    breaker.failed();
  }
  expect(pauses).toEqual([1, 2, 4, 8, 16, 32, 60, 60, 60]);
});

it('shortens a pause by chance to no less than half', () => {
  const { breaker } = openBreaker(() => 0);
  fail(breaker, 3);
  expect(breaker.openFor).toBe(500);
});

it('takes failures of requests that went out before it opened for nothing', () => {
  const { breaker } = openBreaker();
  fail(breaker, 50);
  expect(breaker.openFor).toBeLessThan(1001);
});

it('lets one request through when the pause is over, and all once that one succeeded', () => {
  const { breaker, clock } = openBreaker();
  fail(breaker, 3);
  clock.advance(1000);
  expect(breaker.admit().kind).toBe('probe');
  expect(breaker.admit().kind).toBe('no');
  breaker.succeeded();
  expect([breaker.admit().kind, breaker.admit().kind]).toEqual(['yes', 'yes']);
});

it('lets another request through when the one that was to find out was given up', () => {
  const { breaker, clock } = openBreaker();
  fail(breaker, 3);
  clock.advance(1000);
  const first = breaker.admit();
  first.release();
  expect(breaker.admit().kind).toBe('probe');
  first.release();
  expect(breaker.admit().kind).toBe('no');
});

it('counts a request that never reports back as failed, from its deadline on', () => {
  const { breaker, clock } = openBreaker();
  fail(breaker, 3);
  clock.advance(1000);
  breaker.admit();
  clock.advance(30_000 + 500);
  expect(breaker.state).toBe('open');
  expect(Math.round(breaker.openFor)).toBe(1499);
  clock.advance(1500);
  expect(breaker.admit().kind).toBe('probe');
});

it('closes when an answer begins, and opens at the next failure, for longer, unless one ends well', () => {
  const { breaker, clock } = openBreaker();
  fail(breaker, 3);
  clock.advance(1000);
  breaker.answering();
  expect(breaker.state).toBe('closed');
  breaker.failed();
  expect(Math.round(breaker.openFor)).toBe(1999);
  clock.advance(2000);
  breaker.answering();
  breaker.succeeded();
  breaker.failed();
  expect(breaker.state).toBe('closed');
});

it('is not held open by a clock that was set back', () => {
  const { breaker, clock } = openBreaker();
  fail(breaker, 3);
  clock.advance(-3_600_000);
  expect(breaker.admit().kind).toBe('probe');
});

it('may be tried at once when it was open before a restart, and remembers how long its pauses were', () => {
  const { breaker, clock } = openBreaker();
  fail(breaker, 3);
  clock.advance(1000);
  breaker.failed();
  const { breaker: later } = openBreaker();
  later.restore(breaker.snapshot());
  expect(later.state).toBe('half-open');
  later.failed();
  expect(Math.round(later.openFor)).toBe(3998);
});

it('never gives out a second probe while one is out', () => {
  fc.assert(
    fc.property(history, draws, (steps, random) => {
      const scene = openBreaker(() => random.next().value ?? 0);
      let out: { until: number } | undefined;
      const passes: { release(): void; mine: typeof out }[] = [];
      for (const what of steps) {
        if (typeof what === 'number') scene.clock.advance(what);
        else if (what === 'release') {
          const last = passes.pop();
          last?.release();
          if (last?.mine !== undefined && last.mine === out) out = undefined;
        } else if (what === 'admit') {
          const pass = scene.breaker.admit();
          if (pass.kind === 'probe') {
            expect(out === undefined || out.until <= scene.clock.now()).toBe(true);
            out = { until: scene.clock.now() + 30_000 };
          }
          passes.push({ release: pass.release, mine: pass.kind === 'probe' ? out : undefined });
        } else if (what === 'restore') {
          // A restart takes the request that was out with it.
          scene.breaker.restore(scene.breaker.snapshot());
          out = undefined;
        } else if (what === 'failed' || what === 'succeeded' || what === 'answering') {
          const before = scene.breaker.state;
          scene.breaker[what]();
          if (before === 'half-open' || what !== 'failed') out = undefined;
        }
      }
    }),
  );
});

it('never pauses for longer than a minute, and never waits longer than that and a deadline to let one through', () => {
  fc.assert(
    fc.property(history, draws, (steps, random) => {
      const scene = openBreaker(() => random.next().value ?? 0);
      live(scene, steps, () => expect(scene.breaker.openFor).toBeLessThanOrEqual(60_000));
      scene.clock.advance(60_000 + 30_000 + 60_000);
      expect(scene.breaker.admit().kind).not.toBe('no');
    }),
  );
});

it('never sticks: from any history it closes once a request that it lets through succeeds', () => {
  fc.assert(
    fc.property(history, draws, (steps, random) => {
      const scene = openBreaker(() => random.next().value ?? 0);
      live(scene, steps, () => {});
      let waited = 0;
      while (scene.breaker.admit().kind === 'no') {
        scene.clock.advance(1000);
        waited += 1000;
        expect(waited).toBeLessThan(200_000);
      }
      scene.breaker.succeeded();
      expect(scene.breaker.state).toBe('closed');
      expect(scene.breaker.admit().kind).toBe('yes');
    }),
  );
});
