import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseRateHeaders } from '../../../src/upstream/health/rate-headers.ts';
import { RateLimit } from '../../../src/upstream/health/rate-limit.ts';
import { makeManualClock } from '../../helpers/manual-clock.ts';

const hub = (remaining: number) => ({
  'ratelimit-limit': '100;w=21600',
  'ratelimit-remaining': `${remaining};w=21600`,
});

function openRateLimit() {
  const clock = makeManualClock();
  return { clock, limit: new RateLimit({ clock }) };
}

describe('parseRateHeaders', () => {
  const now = Date.UTC(2026, 0, 1);
  const epoch = now / 1000;

  it.each([
    [
      'Docker Hub',
      { 'ratelimit-limit': '100;w=21600', 'ratelimit-remaining': '76;w=21600' },
      [100, 76, 21600, undefined],
    ],
    [
      'the draft with three headers and policies',
      { 'ratelimit-limit': '10, 10;w=1, 50;w=60', 'ratelimit-remaining': '9', 'ratelimit-reset': '4' },
      [10, 9, undefined, 4],
    ],
    [
      'the draft with one dictionary',
      { ratelimit: 'limit=100, remaining=50, reset=5', 'ratelimit-policy': '100;w=60' },
      [100, 50, 60, 5],
    ],
    [
      'the draft with named policies, the scarcest of them',
      {
        ratelimit: '"day";r=500;t=3600, "burst";r=5;t=10',
        'ratelimit-policy': '"day";q=1000;w=86400,"burst";q=20;w=60',
      },
      [20, 5, 60, 10],
    ],
    ['the draft without a name', { ratelimit: 'r=7;t=30' }, [undefined, 7, undefined, 30]],
    [
      'X-RateLimit with seconds',
      { 'x-ratelimit-limit': '60', 'x-ratelimit-remaining': '0', 'x-ratelimit-reset': '12' },
      [60, 0, undefined, 12],
    ],
    [
      'X-RateLimit with a date',
      { 'x-ratelimit-limit': '60', 'x-ratelimit-remaining': '1', 'x-ratelimit-reset': `${epoch + 90}` },
      [60, 1, undefined, 90],
    ],
    [
      'X-RateLimit with a date that has passed',
      { 'x-ratelimit-limit': '60', 'x-ratelimit-reset': `${epoch - 90}` },
      [60, undefined, undefined, 0],
    ],
    [
      'X-RateLimit with a date in milliseconds',
      { 'x-ratelimit-limit': '60', 'x-ratelimit-reset': `${now + 90_000}` },
      [60, undefined, undefined, 90],
    ],
  ])('reads %s', (_what, headers, [limit, remaining, window, reset]) => {
    expect(parseRateHeaders(headers as Record<string, string>, now)).toEqual({
      limit,
      remaining,
      window,
      reset,
    });
  });

  it.each([
    [{}],
    [{ 'ratelimit-limit': 'unlimited', 'ratelimit-remaining': '-1' }],
    [{ ratelimit: ',;=;=,"";' }],
    [{ 'x-ratelimit-reset': '12' }],
    [{ 'x-ratelimit-limit': `1${' '.repeat(2000)}` }],
  ])('finds nothing in %j', (headers) => {
    expect(parseRateHeaders(headers as Record<string, string>, now)).toBeUndefined();
  });

  it('never throws, and says only numbers that make sense', () => {
    const name = fc.constantFrom(
      ...['', 'x-'].flatMap((prefix) =>
        ['', '-limit', '-remaining', '-reset', '-policy'].map((s) => `${prefix}ratelimit${s}`),
      ),
    );
    const value = fc.oneof(
      fc.string(),
      fc
        .array(
          fc.constantFrom(
            'r',
            't',
            'q',
            'w',
            'limit',
            'remaining',
            'reset',
            '=',
            ';',
            ',',
            '"',
            '9',
            '0',
            '1e9',
            '-',
            ' ',
          ),
        )
        .map((parts) => parts.join('')),
    );
    fc.assert(
      fc.property(fc.dictionary(name, value), (headers) => {
        const notice = parseRateHeaders(headers, now);
        for (const number of Object.values(notice ?? {})) {
          expect(number === undefined || (Number.isSafeInteger(number) && number >= 0)).toBe(true);
        }
        const { limit } = openRateLimit();
        limit.heard(headers);
        expect(limit.backgroundIn()).toBeGreaterThanOrEqual(0);
      }),
      { numRuns: 500 },
    );
  });
});

describe('the budget', () => {
  it('is the last account, and whole again when its window has passed', () => {
    const { limit, clock } = openRateLimit();
    expect(limit.remaining).toBeUndefined();
    limit.heard(hub(76));
    limit.heard({ 'content-type': 'text/plain' });
    expect([limit.limit, limit.remaining]).toEqual([100, 76]);
    clock.advance(21_600_000);
    expect(limit.remaining).toBe(100);
  });

  it('leaves those who wait alone until the upstream says 429', () => {
    const { limit } = openRateLimit();
    limit.heard(hub(0));
    expect(limit.mayAsk('foreground')).toBe(true);
    expect(limit.mayAsk('background')).toBe(false);
  });

  it('keeps a tenth from background work, and at least five', () => {
    const { limit } = openRateLimit();
    limit.heard(hub(10));
    expect(limit.mayAsk('background')).toBe(true);
    limit.heard(hub(9));
    expect(limit.mayAsk('background')).toBe(false);
    limit.heard({ 'x-ratelimit-limit': '20', 'x-ratelimit-remaining': '4' });
    expect(limit.mayAsk('background')).toBe(false);
  });

  it('spreads what background work may take over the window', () => {
    const { limit, clock } = openRateLimit();
    limit.heard({ ratelimit: 'limit=100, remaining=29, reset=100' });
    limit.askedInBackground();
    expect(limit.backgroundIn()).toBe(5000);
    clock.advance(4999);
    expect(limit.mayAsk('background')).toBe(false);
    clock.advance(1);
    expect(limit.mayAsk('background')).toBe(true);
  });
});

describe('a 429', () => {
  it('keeps everybody away for as long as it says', () => {
    const { limit, clock } = openRateLimit();
    limit.limited(30);
    expect([limit.mayAsk('foreground'), limit.mayAsk('background')]).toEqual([false, false]);
    expect([limit.retryAfter(), limit.backgroundIn()]).toEqual([30, 30_000]);
    clock.advance(29_999);
    expect(limit.retryAfter()).toBe(1);
    clock.advance(1);
    expect([limit.mayAsk('foreground'), limit.retryAfter()]).toEqual([true, undefined]);
  });

  it('holds for the reset that comes with it when it says no time', () => {
    const { limit } = openRateLimit();
    limit.heard({ ratelimit: '"default";r=0;t=17' });
    limit.limited(undefined);
    expect(limit.retryAfter()).toBe(17);
  });

  it('holds for a minute when it says nothing, longer each time, until a request is served', () => {
    const { limit, clock } = openRateLimit();
    const penalties: (number | undefined)[] = [];
    for (let n = 0; n < 6; n++) {
      limit.limited(undefined);
      limit.limited(undefined);
      penalties.push(limit.retryAfter());
      clock.advance(15 * 60_000);
    }
    expect(penalties).toEqual([60, 120, 240, 480, 900, 900]);
    limit.served();
    limit.limited(undefined);
    expect(limit.retryAfter()).toBe(60);
  });

  it('does not shorten one that holds for longer', () => {
    const { limit } = openRateLimit();
    limit.limited(100);
    limit.limited(5);
    expect(limit.retryAfter()).toBe(100);
  });

  it('is not forgotten by a restart', () => {
    const { limit, clock } = openRateLimit();
    limit.heard(hub(3));
    limit.limited(100);
    const later = new RateLimit({ clock });
    later.restore(JSON.parse(JSON.stringify(limit.snapshot())));
    clock.advance(40_000);
    expect([later.retryAfter(), later.remaining, later.limit]).toEqual([60, 3, 100]);
  });
});
