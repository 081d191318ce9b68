import { expect, test } from 'vitest';
import { Choices } from '../../../src/pull/download/choices.ts';
import { UpstreamHealth } from '../../../src/upstream/health/health.ts';
import { makeManualClock } from '../../helpers/manual-clock.ts';
import { refusals, scriptedUpstream, type Traits } from '../scripted-upstream.ts';

const size = 100_000_000;
const megabyte = 1_000_000;

type Known = Omit<Traits, 'health'> & {
  /** Bytes a second; measured three times, so that it is no newcomer. */
  readonly rate?: number;
};

/** The choices of a download, and the upstreams behind them by name. */
function choicesOf(upstreams: Record<string, Known>, random = 0.999) {
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
  const choices = new Choices(clients, { random: () => random });
  return {
    choices,
    clock,
    client: (name: string) => {
      const found = clients.find((each) => each.name === name);
      if (found === undefined) throw new Error(`no upstream ${name}`);
      return found;
    },
    /** The name of the next choice, with these connections open. */
    choose: (lanes: Record<string, number> = {}) =>
      choices.choose(size, new Map(Object.entries(lanes)))?.upstream.name,
  };
}

const of = (upstream: string, kind: keyof typeof refusals = 'unavailable') => ({
  ...refusals[kind],
  upstream,
});

test('the first connection goes to the one that is expected to be the quickest, and says why', () => {
  const { choices, choose } = choicesOf({ a: { rate: megabyte }, b: { rate: 10 * megabyte } });
  expect(choose()).toBe('b');
  expect(choices.choose(size, new Map())).toMatchObject({
    rate: expect.closeTo(10 * megabyte, -3),
    reason: expect.stringContaining('expected'),
  });
});

test('of one that was never measured much is hoped, so that it is not split before it is', () => {
  expect(choicesOf({ a: {} }).choices.choose(size, new Map())).toMatchObject({ rate: 50_000_000 });
});

test('a connection more goes to one that is not used yet, unless that is much slower', () => {
  const equal = choicesOf({ a: { rate: megabyte, maxConnections: 8 }, b: { rate: megabyte } });
  expect(equal.choose({ a: 1 })).toBe('b');
  const slower = choicesOf({ a: { rate: 10 * megabyte, maxConnections: 8 }, b: { rate: megabyte } });
  expect([1, 4, 7].map((lanes) => slower.choose({ a: lanes }))).toEqual(['a', 'a', 'a']);
  const half = choicesOf({ a: { rate: 2.5 * megabyte, maxConnections: 8 }, b: { rate: megabyte } });
  expect([1, 2].map((lanes) => half.choose({ a: lanes }))).toEqual(['a', 'b']);
});

test('an upstream has as many connections as it is configured to, then the next one, then none', () => {
  const { choose } = choicesOf({
    a: { rate: 10 * megabyte, maxConnections: 2 },
    b: { rate: megabyte, maxConnections: 1 },
  });
  expect(choose({ a: 1 })).toBe('a');
  expect(choose({ a: 2 })).toBe('b');
  expect(choose({ a: 2, b: 1 })).toBeUndefined();
});

test('one that sends whole blobs only has one connection at most', () => {
  const { choices, choose } = choicesOf({ a: { rate: 10 * megabyte, maxConnections: 8 } });
  expect(choose({ a: 1 })).toBe('a');
  expect(choices.isRangeless('a')).toBe(false);
  choices.noteRangeless('a');
  expect(choices.isRangeless('a')).toBe(true);
  expect(choose({ a: 1 })).toBeUndefined();
  expect(choose()).toBe('a');
});

test('what is benched is left alone for the round, and its answer is kept', () => {
  const { choices, choose } = choicesOf({ a: { rate: 10 * megabyte }, b: { rate: megabyte } });
  expect(choices.refusals()).toEqual([]);
  choices.leaveAlone(of('a'));
  expect(choose()).toBe('b');
  choices.leaveAlone(of('b', 'missing'));
  expect(choose()).toBeUndefined();
  expect(choices.refusals()).toEqual([of('a'), of('b', 'missing')]);
});

test('in another round those that were unavailable are asked again, and nobody who said no', () => {
  const { choices, choose } = choicesOf({ a: {}, b: {}, c: {}, d: {} });
  choices.leaveAlone(of('a', 'missing'));
  choices.leaveAlone(of('b', 'denied'));
  choices.leaveAlone(of('c', 'limited'));
  choices.leaveAlone(of('d'));
  expect(choose()).toBeUndefined();
  choices.newRound();
  expect(choose()).toBe('d');
  expect(choices.refusals().map(({ kind }) => kind)).toEqual(['missing', 'denied', 'limited']);
});

test('the choice can be limited to some', () => {
  const { choices, client } = choicesOf({ a: { rate: 10 * megabyte }, b: { rate: megabyte } });
  const others = choices.choose(size, new Map(), (upstream) => upstream !== client('a'));
  expect(others?.upstream.name).toBe('b');
  expect(choices.choose(size, new Map(), () => false)).toBeUndefined();
});

test('one that is not to be asked for its health is passed over, and counts among those that did not deliver', () => {
  const { choices, choose, client } = choicesOf({ a: { rate: 10 * megabyte }, b: { rate: megabyte } });
  client('a').health.quarantine('wrong bytes');
  expect(choose()).toBe('b');
  choices.leaveAlone(of('b', 'missing'));
  expect(choices.refusals().map(({ upstream, kind }) => `${upstream} ${kind}`)).toEqual([
    'b missing',
    'a unavailable',
  ]);
});

test('in another round those that gave a certain answer can be asked again as well', () => {
  const { choices, choose } = choicesOf({ a: {}, b: {} });
  choices.leaveAlone(of('a', 'missing'));
  choices.leaveAlone(of('b', 'denied'));
  choices.newRound('missing');
  expect(choose()).toBe('a');
  expect(choices.refusals()).toEqual([of('b', 'denied')]);
});

test('another round is hopeless when none can answer, and not for what the bytes of one are worth', () => {
  const { choices, client } = choicesOf({ a: {}, b: {} });
  client('a').health.observeAnswer(429, 7);
  expect(choices.allExcluded).toBe(false);
  client('b').health.quarantine('wrong bytes');
  expect(choices.allExcluded).toBe(false);
  for (let times = 0; times < 20; times += 1) client('b').health.observeFailure('unreachable');
  expect(client('b').health.exclusionFor('content')?.kind).toBe('quarantined');
  expect(choices.allExcluded).toBe(true);
});

test('when none is to be asked for its health, one is asked nevertheless', () => {
  const { choose, client } = choicesOf({ a: {}, b: {} });
  for (const name of ['a', 'b']) client(name).health.quarantine('wrong bytes');
  expect(choose()).toBeDefined();
});

test('one that limits the rate says for how long among those that did not deliver', () => {
  const { choices, client } = choicesOf({ a: {}, b: {} });
  client('a').health.observeAnswer(429, 7);
  expect(choices.refusals()).toEqual([{ kind: 'limited', upstream: 'a', retryAfter: 7 }]);
});
