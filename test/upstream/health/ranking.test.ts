import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { FailureKind } from '../../../src/upstream/health/health.ts';
import {
  askable,
  expectedSeconds,
  rankForBytes,
  rankForTags,
  refusalOf,
} from '../../../src/upstream/health/ranking.ts';
import { makeManualClock } from '../../helpers/manual-clock.ts';
import { candidate, Mirrors, seeded } from '../mirrors.ts';
import { must } from '../open-client.ts';

const size = 12 * 1024 * 1024;
const noLuck = () => 0.999;

/** Candidates that were measured often enough, with these many ms to the first byte and bytes per second. */
function measured(...paces: readonly (readonly [number, number])[]) {
  const clock = makeManualClock();
  const all = paces.map(([firstByteMs, rate], n) => {
    const one = candidate(`m${n}`, clock);
    for (let k = 0; k < 5; k++) {
      one.health.observeFirstByte(firstByteMs);
      one.health.observeTransfer(rate, 1000);
      one.health.observeSuccess();
    }
    return one;
  });
  return { clock, all };
}

function names(ranked: readonly { upstream: { name: string } }[]): string[] {
  return ranked.map(({ upstream }) => upstream.name);
}

describe('rankForBytes', () => {
  it('puts the one first that is done first: by throughput for a layer, by latency for something small', () => {
    const { all } = measured([300, 50_000_000], [20, 5_000_000]);
    expect(names(rankForBytes(all, size, noLuck))).toEqual(['m0', 'm1']);
    expect(names(rankForBytes(all, 2000, noLuck))).toEqual(['m1', 'm0']);
    expect(rankForBytes(all, size, noLuck)[0]?.reason).toBe('expected 0.6 s for 12MiB');
  });

  it('keeps the listed order among those of whom nothing is known', () => {
    const clock = makeManualClock();
    const all = ['a', 'b', 'c'].map((name) => candidate(name, clock));
    expect(names(rankForBytes(all, undefined, noLuck))).toEqual(['a', 'b', 'c']);
  });

  it('thinks of one of whom nothing is known as better than the median, but not than the best', () => {
    const { all, clock } = measured([100, 1_000_000], [100, 2_000_000], [100, 9_000_000]);
    const unknown = candidate('new', clock);
    unknown.health.began(size);
    expect(names(rankForBytes([unknown, ...all], size, noLuck))).toEqual(['m2', 'new', 'm1', 'm0']);
  });

  it('says with each that is left out why, and puts them last, those that lied behind the rest', () => {
    const { all } = measured([1, 9e6], [2, 9e6], [3, 9e6], [4, 9e6]);
    const [lying, limited, broken] = all;
    must(lying).health.quarantine('wrong bytes');
    must(limited).health.rateLimit.limited(30);
    for (let n = 0; n < 3; n++) must(broken).health.observeFailure('timeout');
    const ranked = rankForBytes(all, size, noLuck);
    expect(ranked.map(({ upstream, reason }) => `${upstream.name} ${reason}`)).toEqual([
      'm3 expected 1.4 s for 12MiB',
      'm2 breaker open for 1 s',
      'm1 rate-limited for 30 s',
      'm0 quarantined: wrong bytes',
    ]);
    expect(names(askable(ranked))).toEqual(['m3']);
    expect(names(askable(ranked.slice(1)))).toEqual(['m2', 'm0']);
    expect(askable(ranked.slice(2, 3))).toEqual([]);
  });

  it('names a refusal for one that is left out, so that it is not taken for one that lacks the content', () => {
    const { all } = measured([1, 9e6], [2, 9e6]);
    must(all[0]).health.rateLimit.limited(30);
    for (let n = 0; n < 3; n++) must(all[1]).health.observeFailure('timeout');
    const refusals = rankForBytes(all, size, noLuck).map((ranked) => refusalOf(ranked, 'get-blob'));
    expect(refusals).toMatchObject([
      {
        kind: 'unavailable',
        upstream: 'm1',
        cause: { message: 'it is not asked now (breaker open for 1 s)' },
      },
      { kind: 'limited', upstream: 'm0', retryAfter: 30 },
    ]);
  });

  it('puts a newcomer first in one of twenty choices', () => {
    const { all, clock } = measured([100, 1_000_000], [100, 9_000_000]);
    const newcomer = candidate('new', clock);
    newcomer.health.began(size);
    const random = seeded(7);
    const first = Array.from({ length: 2000 }, () => rankForBytes([newcomer, ...all], size, random)[0]);
    const share = first.filter((ranked) => ranked?.upstream === newcomer).length / first.length;
    expect(share).toBeGreaterThan(0.03);
    expect(share).toBeLessThan(0.07);
    expect(first.find((ranked) => ranked?.exploring)?.reason).toMatch(/^exploring \(expected/);
  });

  it('puts one first that was not measured for a minute, once', () => {
    const { all, clock } = measured([100, 9_000_000], [100, 1_000_000]);
    const [fast, slow] = all;
    clock.advance(60_000);
    must(fast).health.observeTransfer(9_000_000, 1000);
    expect(names(rankForBytes(all, size, noLuck))).toEqual(['m1', 'm0']);
    must(slow).health.began(size);
    expect(names(rankForBytes(all, size, noLuck))).toEqual(['m0', 'm1']);
  });

  it('explores none that served wrong bytes', () => {
    const { all, clock } = measured([100, 9_000_000], [100, 1_000_000]);
    must(all[1]).health.quarantine('wrong bytes');
    clock.advance(60_000);
    must(all[0]).health.observeTransfer(9_000_000, 1000);
    expect(names(rankForBytes(all, size, () => 0))).toEqual(['m0', 'm1']);
  });

  it('leaves one that was down to the probes for a minute, and then sends one request', () => {
    const { all, clock } = measured([100, 9_000_000], [1, 90_000_000]);
    const [slow, fast] = all;
    clock.advance(30_000);
    for (let n = 0; n < 3; n++) must(fast).health.observeFailure('unreachable');
    clock.advance(59_999);
    must(slow).health.observeTransfer(9_000_000, 1000);
    expect(must(fast).health.state).toBe('half-open');
    expect(names(rankForBytes(all, size, () => 0))).toEqual(['m0', 'm1']);
    clock.advance(1);
    expect(names(rankForBytes(all, size, () => 0))).toEqual(['m1', 'm0']);
    expect(must(fast).health.admit().kind).toBe('probe');
    expect(names(rankForBytes(all, size, () => 0))).toEqual(['m0', 'm1']);
  });

  it('returns each candidate once, those that may be asked before the rest, and always somebody to ask', () => {
    const event = fc.oneof(
      fc.constantFrom<FailureKind>('timeout', 'unreachable', 'missing', 'limited'),
      fc.constantFrom('success', 'quarantine', 'probe'),
      fc.integer({ min: 0, max: 100_000 }),
    );
    const lives = fc.array(fc.array(event, { maxLength: 12 }), { minLength: 1, maxLength: 6 });
    const bytes = fc.option(fc.nat(), { nil: undefined });
    fc.assert(
      fc.property(lives, bytes, fc.nat(), (histories, wanted, seed) => {
        const clock = makeManualClock();
        const random = seeded(seed);
        const all = histories.map((events, n) => {
          const one = candidate(`m${n}`, clock, random, n % 2 === 0);
          for (const what of events) {
            if (typeof what === 'number') {
              clock.advance(what);
              one.health.observeFirstByte(what);
              one.health.observeTransfer(what * 1000, 100);
            } else if (what === 'success') one.health.observeSuccess();
            else if (what === 'quarantine') one.health.quarantine('wrong bytes');
            else if (what === 'probe') one.health.admit();
            else one.health.observeFailure(what as FailureKind);
          }
          return one;
        });
        const ranked = rankForBytes(all, wanted, random);
        expect(names(ranked).toSorted()).toEqual(all.map(({ name }) => name).toSorted());
        const excluded = ranked.map(({ exclusion }) => exclusion !== undefined);
        expect(excluded).toEqual(excluded.toSorted());
        const asked = askable(ranked);
        expect(asked.some(({ exclusion }) => exclusion?.kind === 'limited')).toBe(false);
        expect(asked.length > 0).toBe(ranked.some(({ exclusion }) => exclusion?.kind !== 'limited'));
        for (const { expected } of ranked) expect(expected >= 0 && expected < Infinity).toBe(true);
        expect(ranked.slice(1).every(({ exploring }) => !exploring)).toBe(true);
        const tags = all.filter(({ tags: is }) => is).map(({ name }) => name);
        expect(names(rankForTags(all)).toSorted()).toEqual(tags.toSorted());
      }),
    );
  });
});

describe('rankForTags', () => {
  it('keeps the listed order of those that may say what a tag means, those that are well first', () => {
    const clock = makeManualClock();
    const all = ['a', 'b', 'c', 'd'].map((name, n) => candidate(name, clock, noLuck, n !== 1));
    must(all[3]).health.observeFirstByte(1);
    for (let n = 0; n < 3; n++) must(all[0]).health.observeFailure('server-error');
    expect(rankForTags(all).map(({ upstream, reason }) => `${upstream.name} ${reason}`)).toEqual([
      'c in the listed order',
      'd in the listed order',
      'a breaker open for 1 s',
    ]);
  });
});

describe('expectedSeconds', () => {
  it('is the time to the first byte and that of the transfer', () => {
    const { all } = measured([500, 1_000_000]);
    expect(expectedSeconds(must(all[0]).health, 2_000_000)).toBeCloseTo(2.5);
  });
});

describe('under steady traffic', () => {
  const seeds = fc.nat();

  it('the one that is ten times as fast gets more than 85 of 100 choices', () => {
    fc.assert(
      fc.property(seeds, fc.integer({ min: 1, max: 3 }), fc.nat({ max: 3 }), (seed, slow, at) => {
        const mirrors = Array.from({ length: slow }, (_, n) => {
          return { name: `slow${n}`, firstByteMs: 500, rate: 3_000_000, down: false };
        });
        mirrors.splice(at, 0, { name: 'fast', firstByteMs: 50, rate: 30_000_000, down: false });
        const scene = new Mirrors(seed, mirrors);
        scene.run(1200, 500);
        const share = scene.choices.filter(({ name }) => name === 'fast').length / scene.choices.length;
        expect(share).toBeGreaterThan(0.85);
      }),
      { numRuns: 15 },
    );
  });

  it('one that was down is chosen again within a minute of its recovery, and for most from then on', () => {
    fc.assert(
      fc.property(seeds, fc.integer({ min: 1, max: 900 }), (seed, downFor) => {
        const scene = new Mirrors(seed, [
          { name: 'slow', firstByteMs: 500, rate: 3_000_000, down: false },
          { name: 'fast', firstByteMs: 50, rate: 30_000_000, down: false },
        ]);
        const fast = must(scene.mirrors[1]);
        scene.run(60, 500);
        fast.down = true;
        scene.run(downFor, 500);
        fast.down = false;
        const back = scene.clock.now();
        scene.run(120, 500);
        const found = scene.choices.find(({ at, name }) => at >= back && name === 'fast');
        expect(must(found).at - back).toBeLessThanOrEqual(60_000);
        const later = scene.choices.filter(({ at }) => at >= back + 61_000);
        expect(later.filter(({ name }) => name === 'fast').length / later.length).toBeGreaterThan(0.85);
      }),
      { numRuns: 15 },
    );
  });

  it('one that has become the faster is found out within a minute', () => {
    fc.assert(
      fc.property(seeds, (seed) => {
        const scene = new Mirrors(seed, [
          { name: 'a', firstByteMs: 50, rate: 30_000_000, down: false },
          { name: 'b', firstByteMs: 50, rate: 3_000_000, down: false },
        ]);
        scene.run(300, 500);
        must(scene.mirrors[1]).rate = 300_000_000;
        const changed = scene.clock.now();
        scene.run(60, 500);
        const tried = scene.choices.filter(({ at, name }) => at >= changed && name === 'b');
        expect(tried.length).toBeGreaterThan(0);
        scene.run(600, 500);
        const late = scene.choices.filter(({ at, bytes }) => at > changed + 180_000 && bytes > 100_000);
        expect(late.filter(({ name }) => name === 'b').length / late.length).toBeGreaterThan(0.85);
      }),
      { numRuns: 10 },
    );
  });
});
