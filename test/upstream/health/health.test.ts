import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type FailureKind, UpstreamHealth } from '../../../src/upstream/health/health.ts';
import { parseHealthSnapshot } from '../../../src/upstream/health/snapshot.ts';
import { makeManualClock } from '../../helpers/manual-clock.ts';
import { must } from '../open-client.ts';

function openHealth() {
  const clock = makeManualClock();
  const health = new UpstreamHealth({ clock, random: () => 0.999 });
  return { clock, health, again: () => new UpstreamHealth({ clock, random: () => 0.999 }) };
}

const mega = 1_000_000;
const minute = 60_000;

describe('what is measured', () => {
  it('is nothing at first', () => {
    const { health } = openHealth();
    expect(health.describe()).toEqual({
      state: 'closed',
      firstByteMs: undefined,
      bytesPerSecond: undefined,
      remaining: undefined,
      quarantinedUntil: undefined,
    });
    expect(health.unusedFor(0)).toBe(Infinity);
  });

  it('is an average that follows a change within a few samples, and one outlier does not turn', () => {
    const { health } = openHealth();
    for (let n = 0; n < 20; n++) health.observeTransfer(10 * mega, 1000);
    health.observeTransfer(70_000, 60_000);
    expect(health.bytesPerSecond).toBeGreaterThan(mega);
    for (let n = 0; n < 20; n++) health.observeTransfer(mega, 1000);
    expect(must(health.bytesPerSecond) / mega).toBeCloseTo(1, 1);
    for (let n = 0; n < 9; n++) health.observeFirstByte(100);
    health.observeFirstByte(200);
    expect(health.firstByteMs).toBe(120);
  });

  it('counts for less the older it is, and in the end for nothing', () => {
    const { health, clock } = openHealth();
    for (let n = 0; n < 9; n++) health.observeFirstByte(100);
    clock.advance(5 * minute);
    health.observeFirstByte(200);
    expect(health.firstByteMs).toBe(150);
    clock.advance(60 * minute);
    expect([health.firstByteMs, health.samplesFor(0)]).toEqual([undefined, 0]);
  });

  it('takes no throughput from less than 64 KiB, and no nonsense', () => {
    const { health } = openHealth();
    health.observeTransfer(65_535, 1);
    health.observeTransfer(Number.NaN, 1);
    health.observeTransfer(mega, Infinity);
    health.observeFirstByte(-1);
    health.observeFirstByte(Number.NaN);
    expect(health.describe()).toMatchObject({ bytesPerSecond: undefined, firstByteMs: undefined });
    health.observeTransfer(65_536, 0);
    expect(must(health.bytesPerSecond)).toBeCloseTo(65_536_000);
  });

  it('has a usual worst from eight samples on, over the last 64', () => {
    const { health } = openHealth();
    for (let n = 1001; n <= 1007; n++) health.observeFirstByte(n);
    expect(health.usualWorstFirstByte()).toBeUndefined();
    health.observeFirstByte(1008);
    expect(health.usualWorstFirstByte()).toBe(1008);
    for (let n = 101; n <= 164; n++) health.observeFirstByte(n);
    expect(health.usualWorstFirstByte()).toBe(161);
  });

  it('can be taken from a transfer as it goes, each part of it once', () => {
    const { health, clock } = openHealth();
    const transfer = health.began(mega);
    expect(health.unusedFor(mega)).toBe(0);
    expect(health.unusedFor(10)).toBe(Infinity);
    clock.advance(200);
    transfer.firstByte();
    clock.advance(500);
    transfer.firstByte();
    transfer.ended(mega);
    transfer.ended(mega);
    expect(health.firstByteMs).toBe(200);
    expect(must(health.bytesPerSecond)).toBeCloseTo(2 * mega);
    expect([health.samplesFor(0), health.samplesFor(mega)]).toEqual([1, 1]);
  });
});

describe('what counts against an upstream', () => {
  it.each<FailureKind>(['unreachable', 'timeout', 'stall', 'server-error', 'tls', 'protocol'])(
    'is %s, three times in a row',
    (kind) => {
      const { health } = openHealth();
      for (let n = 0; n < 3; n++) health.observeFailure(kind);
      expect(health.admit()).toMatchObject({ kind: 'no', reason: 'breaker open for 1 s' });
    },
  );

  it.each<FailureKind>(['missing', 'denied', 'limited', 'content', 'status', 'method', 'auth', 'redirect'])(
    'is not %s, which shows that it is there',
    (kind) => {
      const { health } = openHealth();
      health.observeFailure('timeout');
      health.observeFailure('timeout');
      for (let n = 0; n < 3; n++) health.observeFailure(kind);
      health.observeFailure('timeout');
      expect(health.state).toBe('closed');
    },
  );

  it('is a status of 500 and above, but for 501', () => {
    for (const [status, state] of [
      [500, 'open'],
      [503, 'open'],
      [501, 'closed'],
      [401, 'closed'],
      [429, 'closed'],
      [404, 'closed'],
    ] as const) {
      const { health } = openHealth();
      for (let n = 0; n < 3; n++) health.observeAnswer(status);
      expect([status, health.state]).toEqual([status, state]);
    }
  });
});

describe('admission', () => {
  it('is refused while the upstream limits, to those who wait too', () => {
    const { health, clock } = openHealth();
    health.observeAnswer(429, 30);
    expect(health.admit()).toMatchObject({ kind: 'no', reason: 'rate-limited for 30 s' });
    clock.advance(30_000);
    expect(health.admit().kind).toBe('yes');
  });

  it('is refused to background work that would spend what others wait for, and paced otherwise', () => {
    const { health, clock } = openHealth();
    health.rateLimit.heard({ 'ratelimit-limit': '100;w=21600', 'ratelimit-remaining': '9;w=21600' });
    expect([health.admit('background').kind, health.admit().kind]).toEqual(['no', 'yes']);
    health.rateLimit.heard({ ratelimit: 'limit=100, remaining=29, reset=100' });
    expect([health.admit('background').kind, health.admit('background').kind]).toEqual(['yes', 'no']);
    clock.advance(5000);
    expect(health.admit('background').kind).toBe('yes');
  });

  it('is given once while half-open', () => {
    const { health, clock } = openHealth();
    for (let n = 0; n < 3; n++) health.observeFailure('timeout');
    clock.advance(1000);
    expect([health.admit().kind, health.admit().kind]).toEqual(['probe', 'no']);
    expect(health.exclusionFor('tags')?.kind).toBe('probing');
  });
});

describe('quarantine', () => {
  it('is for content, for ten minutes, and doubles with each repetition up to a day', () => {
    const { health, clock } = openHealth();
    const lengths: number[] = [];
    for (let n = 0; n < 10; n++) {
      health.quarantine('wrong bytes');
      health.quarantine('found out by another fill meanwhile');
      const exclusion = must(health.exclusionFor('content'));
      expect(exclusion).toMatchObject({ kind: 'quarantined', reason: 'quarantined: wrong bytes' });
      expect(health.exclusionFor('tags')).toBeUndefined();
      expect(health.describe().quarantinedUntil).toBe(clock.now() + exclusion.ms);
      lengths.push(exclusion.ms / minute);
      clock.advance(exclusion.ms);
      expect(health.exclusionFor('content')).toBeUndefined();
    }
    expect(lengths).toEqual([10, 20, 40, 80, 160, 320, 640, 1280, 1440, 1440]);
    clock.advance(24 * 60 * minute);
    health.quarantine('wrong bytes');
    expect(health.exclusionFor('content')?.ms).toBe(10 * minute);
  });
});

describe('a snapshot', () => {
  const event = fc.oneof(
    fc.constantFrom<FailureKind>('timeout', 'stall', 'missing', 'limited'),
    fc.constantFrom('success', 'quarantine', 'admit', 'headers'),
    fc.record({ ms: fc.integer({ min: 0, max: 100_000 }), bytes: fc.integer({ min: 0, max: 1e9 }) }),
    fc.integer({ min: 0, max: 3_000_000 }),
  );

  it('survives JSON and a restart with all there is to it, but that an open breaker may be tried at once', () => {
    fc.assert(
      fc.property(fc.array(event, { maxLength: 40 }), (events) => {
        const { health, clock, again } = openHealth();
        for (const what of events) {
          if (typeof what === 'number') clock.advance(what);
          else if (typeof what === 'object') {
            health.observeFirstByte(what.ms);
            health.observeTransfer(what.bytes, what.ms);
          } else if (what === 'success') health.observeSuccess();
          else if (what === 'quarantine') health.quarantine('wrong bytes');
          else if (what === 'admit') health.admit();
          else if (what === 'headers')
            health.rateLimit.heard({ ratelimit: 'limit=9, remaining=3, reset=70' });
          else health.observeFailure(what as FailureKind);
        }
        const before = health.snapshot();
        const later = again();
        later.restore(must(parseHealthSnapshot(JSON.parse(JSON.stringify(before)))));
        const after = later.snapshot();
        const { breaker } = before;
        const state = breaker.state === 'closed' ? 'closed' : 'half-open';
        expect(after).toEqual({ ...before, breaker: { ...breaker, state } });
        expect({ ...later.describe(), state }).toEqual({ ...health.describe(), state });
        expect(later.usualWorstFirstByte()).toBe(health.usualWorstFirstByte());
      }),
    );
  });

  it('counts for less the older it is', () => {
    const { health, clock, again } = openHealth();
    for (let n = 0; n < 9; n++) health.observeFirstByte(1000);
    const snapshot = health.snapshot();
    clock.advance(60 * minute);
    const later = again();
    later.restore(snapshot);
    expect(later.firstByteMs).toBeUndefined();
    later.observeFirstByte(10);
    expect(later.firstByteMs).toBe(10);
  });

  it('is refused when it is no snapshot, of another version, or damaged', () => {
    const { health } = openHealth();
    health.observeFirstByte(1);
    health.quarantine('wrong bytes');
    health.rateLimit.heard({ ratelimit: 'limit=9, remaining=3, reset=70' });
    health.rateLimit.limited(5);
    const good = JSON.parse(JSON.stringify(health.snapshot())) as Record<string, unknown>;
    expect(parseHealthSnapshot(good)).toEqual(good);
    for (const value of [undefined, null, 1, 'x', [], {}, { ...good, version: 2 }]) {
      expect(parseHealthSnapshot(value)).toBeUndefined();
    }
    for (const key of Object.keys(good)) {
      for (const value of ['x', [null], { at: null }]) {
        expect(parseHealthSnapshot({ ...good, [key]: value }), key).toBeUndefined();
      }
    }
  });
});
