import { expect, test } from 'vitest';
import { Sources } from '../../../src/pull/download/sources.ts';
import { UpstreamHealth } from '../../../src/upstream/health/health.ts';
import { makeManualClock } from '../../helpers/manual-clock.ts';
import { refusals, scriptedUpstream, type Traits } from '../scripted-upstream.ts';

const size = 100_000_000;
const megabyte = 1_000_000;

type Known = Omit<Traits, 'health'> & {
  /** Bytes a second; measured three times, so that it is no newcomer. */
  readonly rate?: number;
};

/** The sources of a download, and the upstreams behind them by name. */
function sourcesOf(upstreams: Record<string, Known>, random = 0.999) {
  const clock = makeManualClock();
  const clients = Object.entries(upstreams).map(([name, { rate, ...traits }]) => {
    const health = new UpstreamHealth({ clock, random: () => random });
    if (rate !== undefined) {
      for (let sample = 0; sample < 3; sample += 1) {
        health.observeFirstByte(10);
        health.observeTransfer(rate, 1_000);
      }
    }
    return scriptedUpstream({}, name, { ...traits, health }).client;
  });
  const sources = new Sources(clients, { random: () => random });
  return {
    sources,
    clock,
    client: (name: string) => {
      const found = clients.find((each) => each.name === name);
      if (found === undefined) throw new Error(`no upstream ${name}`);
      return found;
    },
    /** The name of the next choice, with these connections open. */
    choose: (lanes: Record<string, number> = {}) =>
      sources.choose(size, new Map(Object.entries(lanes)))?.upstream.name,
  };
}

const of = (upstream: string, kind: keyof typeof refusals = 'unavailable') => ({
  ...refusals[kind],
  upstream,
});

test('the first connection goes to the one that is expected to be the quickest, and says why', () => {
  const { sources, choose } = sourcesOf({ a: { rate: megabyte }, b: { rate: 10 * megabyte } });
  expect(choose()).toBe('b');
  expect(sources.choose(size, new Map())).toMatchObject({
    rate: expect.closeTo(10 * megabyte, -3),
    reason: expect.stringContaining('expected'),
  });
});

test('of one that was never measured much is hoped, so that it is not split before it is', () => {
  expect(sourcesOf({ a: {} }).sources.choose(size, new Map())).toMatchObject({ rate: 50_000_000 });
});

test('a connection more goes to one that is not used yet, unless that is much slower', () => {
  const equal = sourcesOf({ a: { rate: megabyte, maxConnections: 8 }, b: { rate: megabyte } });
  expect(equal.choose({ a: 1 })).toBe('b');
  const slower = sourcesOf({ a: { rate: 10 * megabyte, maxConnections: 8 }, b: { rate: megabyte } });
  expect([1, 4, 7].map((lanes) => slower.choose({ a: lanes }))).toEqual(['a', 'a', 'a']);
  const half = sourcesOf({ a: { rate: 2.5 * megabyte, maxConnections: 8 }, b: { rate: megabyte } });
  expect([1, 2].map((lanes) => half.choose({ a: lanes }))).toEqual(['a', 'b']);
});

test('an upstream has as many connections as it is configured to, then the next one, then none', () => {
  const { choose } = sourcesOf({
    a: { rate: 10 * megabyte, maxConnections: 2 },
    b: { rate: megabyte, maxConnections: 1 },
  });
  expect(choose({ a: 1 })).toBe('a');
  expect(choose({ a: 2 })).toBe('b');
  expect(choose({ a: 2, b: 1 })).toBeUndefined();
});

test('one that sends whole blobs only has one connection at most', () => {
  const { sources, choose } = sourcesOf({ a: { rate: 10 * megabyte, maxConnections: 8 } });
  expect(choose({ a: 1 })).toBe('a');
  expect(sources.isRangeless('a')).toBe(false);
  sources.noteRangeless('a');
  expect(sources.isRangeless('a')).toBe(true);
  expect(choose({ a: 1 })).toBeUndefined();
  expect(choose()).toBe('a');
});

test('what is benched is left alone for the round, and its answer is kept', () => {
  const { sources, choose } = sourcesOf({ a: { rate: 10 * megabyte }, b: { rate: megabyte } });
  expect(sources.refusals()).toEqual([]);
  sources.bench(of('a'));
  expect(choose()).toBe('b');
  sources.bench(of('b', 'missing'));
  expect(choose()).toBeUndefined();
  expect(sources.refusals()).toEqual([of('a'), of('b', 'missing')]);
});

test('in another round those that were unavailable are asked again, and nobody who said no', () => {
  const { sources, choose } = sourcesOf({ a: {}, b: {}, c: {}, d: {} });
  sources.bench(of('a', 'missing'));
  sources.bench(of('b', 'denied'));
  sources.bench(of('c', 'limited'));
  sources.bench(of('d'));
  expect(choose()).toBeUndefined();
  sources.newRound();
  expect(choose()).toBe('d');
  expect(sources.refusals().map(({ kind }) => kind)).toEqual(['missing', 'denied', 'limited']);
});

test('the choice can be limited to some', () => {
  const { sources, client } = sourcesOf({ a: { rate: 10 * megabyte }, b: { rate: megabyte } });
  const others = sources.choose(size, new Map(), (upstream) => upstream !== client('a'));
  expect(others?.upstream.name).toBe('b');
  expect(sources.choose(size, new Map(), () => false)).toBeUndefined();
});

test('one that is not to be asked for its health is passed over, and counts among those that did not deliver', () => {
  const { sources, choose, client } = sourcesOf({ a: { rate: 10 * megabyte }, b: { rate: megabyte } });
  client('a').health.quarantine('wrong bytes');
  expect(choose()).toBe('b');
  sources.bench(of('b', 'missing'));
  expect(sources.refusals().map(({ upstream, kind }) => `${upstream} ${kind}`)).toEqual([
    'b missing',
    'a unavailable',
  ]);
});

test('in another round those that gave a certain answer can be asked again as well', () => {
  const { sources, choose } = sourcesOf({ a: {}, b: {} });
  sources.bench(of('a', 'missing'));
  sources.bench(of('b', 'denied'));
  sources.newRound('missing');
  expect(choose()).toBe('a');
  expect(sources.refusals()).toEqual([of('b', 'denied')]);
});

test('another round is hopeless when none can answer, and not for what the bytes of one are worth', () => {
  const { sources, client } = sourcesOf({ a: {}, b: {} });
  client('a').health.observeAnswer(429, 7);
  expect(sources.allBarred).toBe(false);
  client('b').health.quarantine('wrong bytes');
  expect(sources.allBarred).toBe(false);
  for (let times = 0; times < 20; times += 1) client('b').health.observeFailure('unreachable');
  expect(client('b').health.exclusionFor('content')?.kind).toBe('quarantined');
  expect(sources.allBarred).toBe(true);
});

test('when none is to be asked for its health, one is asked nevertheless', () => {
  const { choose, client } = sourcesOf({ a: {}, b: {} });
  for (const name of ['a', 'b']) client(name).health.quarantine('wrong bytes');
  expect(choose()).toBeDefined();
});

test('one that limits the rate says for how long among those that did not deliver', () => {
  const { sources, client } = sourcesOf({ a: {}, b: {} });
  client('a').health.observeAnswer(429, 7);
  expect(sources.refusals()).toEqual([{ kind: 'limited', upstream: 'a', retryAfter: 7 }]);
});
