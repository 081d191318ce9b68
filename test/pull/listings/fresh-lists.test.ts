import { expect, test } from 'vitest';
import { neverAborted, TimeoutError } from '../../../src/lib/abort.ts';
import { FreshLists, type Listed } from '../../../src/pull/listings/fresh-lists.ts';
import { makeGate } from '../../helpers/gate.ts';
import { makeManualClock } from '../../helpers/manual-clock.ts';
import { ok, refusals, scriptedUpstream, targetOf } from '../scripted-upstream.ts';

type Kept = { readonly checkedAt: number; readonly text: string };

function scene(options: Partial<Listed<string, Kept>> = {}) {
  const clock = makeManualClock();
  const lists = new FreshLists<string, Kept>({ clock });
  let kept: Kept | undefined;
  let places = 0;
  const listed: Listed<string, Kept> = {
    name: 'list',
    title: 'the list',
    missing: 'NAME_UNKNOWN',
    next: 'check the name',
    limit: {
      acquire: async () => {
        places += 1;
        return () => {
          places -= 1;
        };
      },
    },
    kept: async () => kept,
    ask: async () => ok('fetched'),
    keep: async (text) => {
      kept = { text, checkedAt: clock.now() };
      return kept;
    },
    drop: async () => {
      kept = undefined;
    },
    ...options,
  };
  const target = targetOf([scriptedUpstream()]);
  return {
    clock,
    places: () => places,
    current: (more: Partial<Listed<string, Kept>> = {}) =>
      lists.current({ target, signal: neverAborted }, { ...listed, ...more }),
  };
}

test('a place is free again whatever comes of it', async () => {
  const { current, clock, places } = scene();
  const late = async () => {
    throw new TimeoutError('late');
  };
  for (const failing of [
    { ask: async () => refusals.unavailable },
    { ask: late },
    { keep: late },
    { ask: async () => refusals.missing },
  ]) {
    await expect(current(failing)).rejects.toThrow();
    clock.advance(60_000);
    expect(places()).toBe(0);
  }
  expect(await current()).toMatchObject({ kept: { text: 'fetched' }, outcome: 'miss' });
  expect(places()).toBe(0);
});

test('who finds out late that nothing was kept asks nobody, if somebody else has asked meanwhile', async () => {
  const late = makeGate();
  let asked = 0;
  const { current, clock } = scene({
    ask: async () => {
      asked += 1;
      return ok('fetched');
    },
  });
  let looks = 0;
  const slow = current({
    kept: async () => {
      looks += 1;
      if (looks > 1) return { text: 'fetched', checkedAt: clock.now() };
      await late.opened;
      return undefined;
    },
  });
  expect(await current()).toMatchObject({ outcome: 'miss' });
  late.open();
  expect(await slow).toMatchObject({ kept: { text: 'fetched' }, outcome: 'hit' });
  expect(asked).toBe(1);
});

test('a place that does not come free in time is an outage: what is kept is served stale, and says why', async () => {
  const { current, clock } = scene();
  const limit = {
    acquire: async () => {
      throw new TimeoutError('no result within 120000 ms');
    },
  };
  await expect(current({ limit })).rejects.toMatchObject({ code: 'UNAVAILABLE', retryAfter: 5 });
  await current();
  clock.advance(60_000);
  const stale = await current({ limit });
  expect(stale).toMatchObject({ kept: { text: 'fetched' }, outcome: 'stale' });
  expect(stale.staleBecause).toContain('too many lists of ghcr.io');
});
