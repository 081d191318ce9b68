import { describe, expect, test } from 'vitest';
import { neverAborted } from '../../../src/lib/abort.ts';
import { BudgetSpentError } from '../../../src/pull/background-budget.ts';
import { RateLimit } from '../../../src/upstream/health/rate-limit.ts';
import { makeGate } from '../../helpers/gate.ts';
import { scriptedUpstream } from '../../pull/scripted-upstream.ts';
import { digestOf, entryOf, eventLog, outage, syncScene } from './sync-scene.ts';

const nothing = () => undefined;

describe('a run', () => {
  test('warms what its filters select, the newest first, and reports what became of each', async () => {
    const entry = entryOf({ selection: { semver: '>=1' }, platforms: ['linux/amd64'] });
    const same = { before: digestOf('a'), digest: digestOf('a'), result: 'unchanged' } as const;
    const { sync, asked, runs } = syncScene([entry], {
      tags: ['0.9.0', '1.0.0', '1.1.0', '1.2.0', '1.3.0', 'latest'],
      warmed: {
        '1.2.0': { ...same, bytes: 0 },
        '1.1.0': { before: digestOf('b'), digest: digestOf('c') },
        '1.0.0': { result: 'failed', message: 'the line is cut' },
      },
    });
    const { told, emit } = eventLog();
    const run = await sync.run(entry, 'schedule', emit, neverAborted);
    expect(told).toEqual([
      'begun',
      'selected 1.3.0,1.2.0,1.1.0,1.0.0',
      '1.3.0 added',
      '1.2.0 unchanged',
      '1.1.0 moved',
      '1.0.0 failed',
      'ended',
    ]);
    expect(run).toMatchObject({
      added: ['1.3.0'],
      moved: ['1.1.0'],
      unchanged: ['1.2.0'],
      failed: [{ tag: '1.0.0', code: 'UNAVAILABLE', message: 'the line is cut' }],
      requests: 5,
      bytes: 30,
    });
    // The list is asked for whatever is known.
    expect(asked.slice(0, 2)).toEqual(['list 0', 'warm 1.3.0 linux/amd64']);
    expect(runs).toHaveLength(1);
    expect(await sync.last(entry)).toEqual(run);
  });

  test('leaves out what policy does not let be shown', async () => {
    const entry = entryOf({ selection: { newest: 1 } });
    const { sync, world } = syncScene([entry], { tags: ['1.0.0', '2.0.0'] });
    world.denied.push('2.0.0');
    expect(await sync.run(entry, 'schedule', nothing, neverAborted)).toMatchObject({ added: ['1.0.0'] });
  });

  test.each([
    ['no upstream answers', outage, 'no upstream answers'],
    ['only an old list is known', 'stale', 'no upstream of ghcr.io lists its tags now'],
  ] as const)('that cannot list tags, since %s, has failed as a whole', async (_, listing, message) => {
    const entry = entryOf();
    const { sync, world, asked, runs } = syncScene([entry], { tags: ['1.0.0'] });
    world.listing = listing;
    const run = await sync.run(entry, 'schedule', nothing, neverAborted);
    expect(run.failed).toEqual([{ code: 'UNAVAILABLE', message }]);
    expect(asked).toEqual(['list 0']);
    expect(runs).toHaveLength(1);
  });

  test('goes on after a failure, whatever it is', async () => {
    const entry = entryOf();
    const { sync } = syncScene([entry], {
      tags: ['1.0.0', '2.0.0'],
      warmed: { '2.0.0': () => Promise.reject(new Error('a defect')) },
    });
    const run = await sync.run(entry, 'schedule', nothing, neverAborted);
    expect(run).toMatchObject({ added: ['1.0.0'], failed: [{ tag: '2.0.0', message: 'a defect' }] });
  });

  test('stops when its requests are used up, and says what is left', async () => {
    const entry = entryOf({ requests: 3 });
    const { sync, asked } = syncScene([entry], { tags: ['1.0.0', '2.0.0', '3.0.0'] });
    const run = await sync.run(entry, 'schedule', nothing, neverAborted);
    expect(run).toMatchObject({ added: ['3.0.0', '2.0.0'], failed: [], requests: 3 });
    expect(run.stopped).toBe('the 3 upstream requests of a run are used up: the rest waits for the next run');
    expect(asked).toHaveLength(3);
  });

  test('stops in the middle of an image too', async () => {
    const entry = entryOf({ requests: 5 });
    const spent = async () => {
      throw new BudgetSpentError();
    };
    const { sync, asked } = syncScene([entry], { tags: ['a1', 'b1', 'c1'], warmed: { b1: spent } });
    const run = await sync.run(entry, 'schedule', nothing, neverAborted);
    expect(run).toMatchObject({ added: ['a1'], failed: [], requests: 3 });
    expect(run.stopped).toContain('used up');
    expect(asked).not.toContain('warm c1');
  });

  test('stops before the first image when the list has used its requests up', async () => {
    const entry = entryOf({ requests: 1 });
    const { sync, asked } = syncScene([entry], { tags: ['a1'] });
    const run = await sync.run(entry, 'schedule', nothing, neverAborted);
    expect(run).toMatchObject({ added: [], failed: [], requests: 1 });
    expect(run.stopped).toContain('used up');
    expect(asked).toEqual(['list 0']);
  });

  test('waits for what an upstream grants to work that nobody waits for, but not on demand', async () => {
    const upstream = scriptedUpstream();
    const entry = entryOf({ upstreams: [upstream] });
    const { sync, waits, clock } = syncScene([entry], { tags: ['1.0.0', '2.0.0', '3.0.0'] });
    const rateLimit = new RateLimit({ clock });
    Object.assign(upstream.client.health, { rateLimit });
    rateLimit.heard({ 'ratelimit-limit': '100;w=3600', 'ratelimit-remaining': '100;w=3600' });
    await sync.run(entry, 'schedule', nothing, neverAborted);
    expect(waits).toHaveLength(2);
    expect(Math.min(...waits)).toBeGreaterThan(30_000);
    await sync.run(entry, 'demand', nothing, neverAborted);
    expect(waits).toHaveLength(2);
    rateLimit.heard({ 'ratelimit-limit': '100;w=3600', 'ratelimit-remaining': '1;w=3600' });
    const run = await sync.run(entry, 'schedule', nothing, neverAborted);
    expect(run.stopped).toBe('ghcr.io limits the rate of requests: the rest waits for the next run');
  });

  test('that is broken off is not remembered', async () => {
    const entry = entryOf();
    const reached = makeGate();
    const { sync, runs } = syncScene([entry], {
      tags: ['1.0.0'],
      warmed: {
        '1.0.0': (signal) => {
          reached.open();
          return new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)));
        },
      },
    });
    const run = sync.run(entry, 'schedule', nothing, neverAborted);
    await reached.opened;
    await sync.close();
    await expect(run).rejects.toThrow('the server is stopping');
    expect(runs).toEqual([]);
  });
});

test('an entry is never synced twice at once: who asks meanwhile gets the end of the run under way', async () => {
  const entry = entryOf();
  const reached = makeGate();
  const door = makeGate();
  const { sync, asked } = syncScene([entry], {
    tags: ['1.0.0'],
    warmed: {
      '1.0.0': async () => {
        reached.open();
        await door.opened;
        return {};
      },
    },
  });
  const first = sync.run(entry, 'schedule', nothing, neverAborted);
  await reached.opened;
  expect(sync.active).toBe(1);
  const { told, emit } = eventLog();
  const second = sync.demand([entry], emit, neverAborted);
  door.open();
  await Promise.all([first, second]);
  expect(told).toEqual(['joined', 'ended', 'done 0']);
  expect(asked).toEqual(['list 0', 'warm 1.0.0']);
  expect(sync.active).toBe(0);
});

test('who joined a run leaves it without ending it; who began it ends it, and waits for the end', async () => {
  const entry = entryOf();
  const reached = makeGate();
  const wound = makeGate();
  const { sync, runs } = syncScene([entry], {
    tags: ['1.0.0'],
    warmed: {
      '1.0.0': async (signal) => {
        reached.open();
        await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
        await wound.opened;
        throw signal.reason;
      },
    },
  });
  const [beginner, joiner] = [new AbortController(), new AbortController()];
  const first = sync.run(entry, 'demand', nothing, beginner.signal);
  await reached.opened;
  const second = sync.run(entry, 'demand', nothing, joiner.signal);
  joiner.abort(new Error('joined and left'));
  await expect(second).rejects.toThrow('joined and left');
  expect(sync.active).toBe(1);
  const settled = Promise.allSettled([first]);
  beginner.abort(new Error('interrupted'));
  await Promise.resolve();
  expect(sync.active).toBe(1);
  wound.open();
  expect(await settled).toMatchObject([{ status: 'rejected', reason: { message: 'interrupted' } }]);
  expect([sync.active, runs.length]).toEqual([0, 0]);
});

test('on demand entries run one after the other, and what went wrong is counted', async () => {
  const good = entryOf();
  const bad = entryOf({ repository: 'org/other', selection: { tags: ['2*'] } });
  const { sync } = syncScene([bad, good], {
    tags: ['1.0.0', '2.0.0'],
    warmed: { '2.0.0': { result: 'denied', message: 'policy: no' } },
  });
  const { told, emit } = eventLog();
  await sync.demand([bad, good], emit, neverAborted);
  expect(told.filter((line) => !line.startsWith('selected'))).toEqual([
    'begun',
    '2.0.0 failed',
    'ended',
    'begun',
    '2.0.0 failed',
    '1.0.0 added',
    'ended',
    'done 2',
  ]);
});

test('where no upstream is asked nothing is begun', async () => {
  const entry = entryOf({ closed: 'offline', schedule: '@daily' });
  const { sync, asked } = syncScene([entry]);
  const demand = sync.demand([entry], nothing, neverAborted);
  await expect(demand).rejects.toMatchObject({
    code: 'UNSUPPORTED',
    message: expect.stringContaining('offline'),
  });
  expect(asked).toEqual([]);
  expect(await sync.status()).toMatchObject([{ image: 'ghcr.io/org/app', next: undefined, running: false }]);
});

test('an entry is known by what it fetches: another schedule does not make it another', async () => {
  const before = entryOf({ schedule: '@daily' });
  const { sync } = syncScene([before], { tags: ['1.0.0'] });
  await sync.run(before, 'schedule', nothing, neverAborted);
  expect(await sync.last(entryOf({ schedule: '0 4 * * *', jitter: 5 }))).toMatchObject({ added: ['1.0.0'] });
  expect(await sync.last(entryOf({ selection: { tags: ['1*'] } }))).toBeUndefined();
});
