import { expect, onTestFinished, test } from 'vitest';
import { neverAborted } from '../../../src/lib/abort.ts';
import { SyncSchedule } from '../../../src/transfer/sync/schedule.ts';
import { dueAt, type SyncEntry } from '../../../src/transfer/sync/sync-entry.ts';
import { captureLog } from '../../helpers/capture-log.ts';
import { makeGate } from '../../helpers/gate.ts';
import { entryOf, syncScene } from './sync-scene.ts';

const minute = 60_000;
const hour = 60 * minute;

/** A schedule over a sync whose runs find nothing to do, unless the test says otherwise. */
async function scene(entries: readonly SyncEntry[], random = 0) {
  const made = syncScene(entries);
  const { clock, sync, ended } = made;
  const open = async () => {
    const schedule = new SyncSchedule({ sync, clock, random: () => random, log: captureLog().log });
    await schedule.start();
    onTestFinished(() => schedule.close());
    return schedule;
  };
  /** Looks, and lets the runs that begin come to their end. */
  const look = async (schedule: SyncSchedule) => {
    schedule.look();
    for (let turn = 0; turn < 5; turn += 1) await new Promise((resolve) => setImmediate(resolve));
    return ended.splice(0).map(({ cause }) => cause);
  };
  return { ...made, open, look };
}

const hourly = () => entryOf({ schedule: '0 * * * *' });

test('an entry that never ran runs at once, and then when its schedule says so', async () => {
  const { open, look, clock } = await scene([hourly()]);
  const schedule = await open();
  expect(await look(schedule)).toEqual(['missed']);
  expect(await look(schedule)).toEqual([]);
  clock.advance(hour - 1);
  expect(await look(schedule)).toEqual([]);
  clock.advance(1);
  expect(await look(schedule)).toEqual(['schedule']);
  clock.advance(hour);
  expect(await look(schedule)).toEqual(['schedule']);
});

test('what was missed while no server ran is made up for by one run', async () => {
  const { open, look, clock } = await scene([hourly()]);
  const first = await open();
  await look(first);
  await first.close();
  clock.advance(30 * minute);
  const soon = await open();
  expect(await look(soon)).toEqual([]);
  await soon.close();
  clock.advance(5 * hour);
  const late = await open();
  expect(await look(late)).toEqual(['missed']);
  expect(await look(late)).toEqual([]);
  clock.advance(30 * minute);
  expect(await look(late)).toEqual(['schedule']);
});

test('jitter puts off the runs of the schedule and those that were missed', async () => {
  const { open, look, clock } = await scene([entryOf({ schedule: '0 * * * *', jitter: 10 * minute })], 0.5);
  const schedule = await open();
  expect(await look(schedule)).toEqual([]);
  clock.advance(5 * minute);
  expect(await look(schedule)).toEqual(['missed']);
  clock.advance(55 * minute);
  expect(await look(schedule)).toEqual([]);
  clock.advance(5 * minute);
  expect(await look(schedule)).toEqual(['schedule']);
});

test('an entry without a schedule is left alone', async () => {
  const { open, look, clock } = await scene([entryOf()]);
  const schedule = await open();
  clock.advance(1_000 * hour);
  expect(await look(schedule)).toEqual([]);
});

test('two entries run at once, and the third when there is room', async () => {
  const entries = ['a', 'b', 'c'].map((name) => entryOf({ schedule: '@daily', repository: `org/${name}` }));
  const door = makeGate();
  const { open, look, world, asked } = await scene(entries);
  world.tags.push('1.0.0');
  world.warmed['1.0.0'] = async () => {
    await door.opened;
    return {};
  };
  const schedule = await open();
  await look(schedule);
  await look(schedule);
  expect(asked.filter((line) => line.startsWith('list'))).toHaveLength(2);
  door.open();
  expect(await look(schedule)).toHaveLength(2);
  expect(await look(schedule)).toHaveLength(1);
  expect(await look(schedule)).toEqual([]);
});

test('a schedule that is due while its entry is synced on demand does not run it again', async () => {
  const entry = hourly();
  const door = makeGate();
  const { open, look, world, asked, sync } = await scene([entry]);
  world.tags.push('1.0.0');
  world.warmed['1.0.0'] = async () => {
    await door.opened;
    return {};
  };
  const demand = sync.demand([entry], () => undefined, neverAborted);
  const schedule = await open();
  await look(schedule);
  door.open();
  await demand;
  await look(schedule);
  expect(asked).toEqual(['list 0', 'warm 1.0.0']);
});

test('closing breaks off what runs, which then counts as missed', async () => {
  const { open, look, world, runs, clock } = await scene([hourly()]);
  world.tags.push('1.0.0');
  const stuck = (signal: AbortSignal) =>
    new Promise<never>((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)));
  world.warmed['1.0.0'] = stuck;
  const schedule = await open();
  await look(schedule);
  await schedule.close();
  expect(runs).toEqual([]);
  world.warmed['1.0.0'] = {};
  clock.advance(1);
  expect(await look(await open())).toEqual(['missed']);
});

test('a clock that was set back does not stop a schedule until it has caught up', async () => {
  const { open, look, clock } = await scene([hourly()]);
  const first = await open();
  await look(first);
  await first.close();
  clock.advance(-1_000 * hour);
  const schedule = await open();
  expect(await look(schedule)).toEqual([]);
  clock.advance(hour);
  expect(await look(schedule)).toEqual(['schedule']);
});

test('the time that is due is the first after the last run', () => {
  const at = new Date(2026, 2, 4, 12, 30).getTime();
  const daily = entryOf({ schedule: '0 3 * * *' });
  expect(dueAt(daily, at)).toBe(new Date(2026, 2, 5, 3, 0).getTime());
  expect(dueAt(entryOf({ schedule: '@weekly' }), at)).toBe(new Date(2026, 2, 8).getTime());
  expect(dueAt(daily, undefined)).toBe(0);
  expect(dueAt(entryOf(), at)).toBeUndefined();
});
