import { Cron } from 'croner';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { readSchedule } from '../../src/config/schedule-text.ts';
import { complaintsAbout, loadFrom } from './complaints.ts';

const entry = (text: string) => `sync:\n  - image: ghcr.io/org/app\n    ${text}`;

describe('an entry of sync', () => {
  test('is read with its units, and what is left out stays out', () => {
    const yaml = entry(
      'tags: "v*"\n    semver: ">=1.4"\n    newest: 3\n    platforms: linux/amd64\n    schedule: "0  3 * * MON"\n    jitter: 1m\n    maxBandwidth: 1MiB\n    requests: 7',
    );
    expect(loadFrom(yaml).sync).toEqual([
      {
        image: 'ghcr.io/org/app',
        tags: ['v*'],
        semver: '>=1.4',
        newest: 3,
        platforms: ['linux/amd64'],
        schedule: '0 3 * * MON',
        jitter: 60_000,
        maxBandwidth: 1024 ** 2,
        requests: 7,
      },
    ]);
    expect(loadFrom(entry('newest: 1')).sync).toEqual([
      { image: 'ghcr.io/org/app', newest: 1, jitter: 300_000 },
    ]);
  });

  test.each([
    [entry('jitter: 1m'), '2 sync[0]: does not say which tags'],
    [entry('newest: 0'), '3 sync[0].newest: must be a whole number from 1 to 1000'],
    [entry('newest: 1\n    platforms: amd64'), '4 sync[0].platforms: must be os/architecture'],
    [entry('newest: 1\n    schedule: "0 3 * *"'), '4 sync[0].schedule: must be a schedule of five fields'],
    [entry('newest: 1\n    schedule: "0 3 31 2 *"'), '4 sync[0].schedule: names a day that its months never'],
    [entry('newest: 1\n    maxBandwidth: 1KiB'), '4 sync[0].maxBandwidth: must be at least 64KiB'],
    [entry('newest: 1\n    requests: 0'), '4 sync[0].requests: must be a whole number from 1'],
    [entry('newest: 1\n    cron: "@daily"'), '4 sync[0].cron: unknown key'],
    ['sync: [{image: ghcr.io/org/app:v1, newest: 1}]', '1 sync[0].image: must name no tag'],
    ['sync: [{image: "ghcr.io/org/*", newest: 1}]', '1 sync[0].image: must be one image, not a glob'],
    ['sync: [{image: python, newest: 1}]', '1 sync[0].image: must be registry/repository'],
    ['sync: [{image: ghcr.io/Org/app, newest: 1}]', '1 sync[0].image: must be lower case'],
    ['sync: [{image: library/python, newest: 1}]', '1 sync[0].image: begins with no registry that'],
    ['offline: "yes"', '1 offline: must be true or false, without quotes'],
    ['prefetch: 8', '1 prefetch: must be true or false, without quotes'],
  ])('%j is refused with its line and path', (yaml, expected) => {
    expect(complaintsAbout(yaml)).toEqual([expect.stringContaining(expected)]);
  });

  test('may name a registry with a port', () => {
    const registries =
      'defaultRegistry: "a:5000"\nregistries: {"a:5000": {upstreams: [{url: "https://a"}]}}\n';
    expect(loadFrom(`${registries}sync: [{image: "a:5000/x/y", tags: "*"}]`).sync[0]?.image).toBe(
      'a:5000/x/y',
    );
  });
});

describe('a schedule', () => {
  test.each([
    '* * * * *',
    '*/15 0-6/2 1,15 JAN-Mar mon-fri',
    '0 3 * * 7',
    '@daily',
    '0 0 29 2 *',
    '0 0 31 2 1',
  ])('%s is one', (text) => expect(readSchedule(text).kind).toBe('value'));

  test.each([
    '',
    '* * * *',
    '* * * * * *',
    '60 * * * *',
    '* 24 * * *',
    '* * 0 * *',
    '* * * 13 *',
    '* * * * 8',
    '5-1 * * * *',
    '5/10 * * * *',
    '*/0 * * * *',
    '*/60 * * * *',
    '1, * * * *',
    '* * * foo *',
    '* * mon * *',
    '0 0 30 2 *',
    '0 0 31 4,6 *',
    '@reboot',
    '0 3 L * *',
  ])('%s is none', (text) => expect(readSchedule(text).kind).toBe('refused'));

  test('that is read is one to the scheduler too, and comes', () => {
    const field = (min: number, max: number) => {
      const number = fc.integer({ min, max });
      const range = fc.tuple(number, number).map(([a, b]) => `${Math.min(a, b)}-${Math.max(a, b)}`);
      const step = fc.integer({ min: 1, max: 12 }).map((by) => `*/${by}`);
      const item = fc.oneof(number.map(String), range, step, fc.constant('*'));
      return fc.array(item, { minLength: 1, maxLength: 3 }).map((items) => items.join(','));
    };
    const text = fc
      .tuple(field(0, 59), field(0, 23), field(1, 31), field(1, 12), field(0, 7))
      .map((parts) => parts.join(' '));
    fc.assert(
      fc.property(text, (schedule) => {
        const reading = readSchedule(schedule);
        if (reading.kind === 'refused') return;
        const next = new Cron(reading.value, { paused: true, mode: '5-part' }).nextRun(new Date(0));
        expect(next).toBeInstanceOf(Date);
      }),
      { numRuns: 300 },
    );
  });
});
