import { describe, expect, test } from 'vitest';
import { type Answer, here, reportText, type Status, verdict } from '../../src/cli/status-report.ts';

const digest = (digit: string) => `sha256:${digit.repeat(64)}`;
const whole: Status = {
  image: 'ghcr.io/org/app:v1',
  digest: digest('a'),
  whole: true,
  platforms: ['linux/amd64'],
  lacking: [],
  parts: 4,
  bytes: 3 * 1024 * 1024,
  missing: [],
  referrers: { stored: 0, missing: 0 },
  storedAt: '2026-07-01T08:30:00.123Z',
};
const missing: Status = {
  ...whole,
  whole: false,
  missing: [{ kind: 'blob', role: 'layer', digest: digest('b'), size: 2_048, platform: 'linux/amd64' }],
};
const at = (status: Status, where = here): Answer => ({ where, status });
const report = (...places: Answer[]) => ({ image: whole.image, places });

describe('the verdict', () => {
  test.each([
    ['whole', [at(whole)]],
    ['whole', [at(whole), at(whole, 'http://b')]],
    ['missing', [at(missing)]],
    ['missing', [at(whole), at(missing, 'http://b')]],
    ['denied', [at({ ...whole, denied: 'policy' })]],
    ['differs', [at(whole), at({ ...whole, digest: digest('c') }, 'http://b')]],
    ['unknown', [at(whole), { where: 'http://b', problem: 'cannot be reached' }]],
  ] as const)('is %s', (expected, places) => {
    expect(verdict(report(...places))).toBe(expected);
  });
});

test('one place is a table of one line an image, with what is missing below', () => {
  expect(reportText([report(at(whole)), report(at(missing))])).toBe(
    [
      `IMAGE               STATE    SIZE  SINCE                 DIGEST`,
      `ghcr.io/org/app:v1  whole    3MiB  2026-07-01T08:30:00Z  ${digest('a')}`,
      `ghcr.io/org/app:v1  missing  3MiB  2026-07-01T08:30:00Z  ${digest('a')}`,
      '',
      'ghcr.io/org/app:v1: 1 of 4 parts are missing, 2KiB',
      '    PART   PLATFORM     SIZE  DIGEST',
      `    layer  linux/amd64  2KiB  ${digest('b')}`,
      '',
    ].join('\n'),
  );
});

test('several places are told apart, and so is what differs between them', () => {
  const other = at({ ...whole, digest: digest('c') }, 'http://b:5000');
  const down: Answer = { where: 'http://c:5000', problem: 'cannot be reached: ECONNREFUSED' };
  const text = reportText([report(at(whole), other, down)]);
  expect(text.split('\n').map((line) => line.replace(/ {2,}/g, ' | '))).toEqual([
    'IMAGE | WHERE | STATE | SIZE | SINCE | DIGEST',
    `ghcr.io/org/app:v1 | here | differs | 3MiB | 2026-07-01T08:30:00Z | ${digest('a')}`,
    `ghcr.io/org/app:v1 | http://b:5000 | differs | 3MiB | 2026-07-01T08:30:00Z | ${digest('c')}`,
    'ghcr.io/org/app:v1 | http://c:5000 | unknown | - | - | -',
    '',
    'ghcr.io/org/app:v1 at http://c:5000: cannot be reached: ECONNREFUSED',
    '',
  ]);
});

test.each([
  [{ ...whole, denied: 'policy: no' }, 'ghcr.io/org/app:v1: policy: no'],
  [
    { ...missing, lacking: ['linux/s390x'], missing: [] },
    'ghcr.io/org/app:v1: it has no image for linux/s390x: its platforms are linux/amd64',
  ],
  [
    { ...whole, referrers: { stored: 1, missing: 2 } },
    'ghcr.io/org/app:v1: 2 parts of signatures or SBOMs are missing',
  ],
])('what is not as it should be is said: %#', (status, expected) => {
  expect(reportText([report(at(status))])).toContain(`\n${expected}\n`);
});

test('what nothing is known of says how to get it', () => {
  const { digest: _digest, storedAt: _storedAt, ...nothing } = whole;
  const text = reportText([report(at({ ...nothing, whole: false, parts: 0, bytes: 0 }))]);
  expect(text).toContain('nothing of it is stored; to fetch it: entrepot warm ghcr.io/org/app:v1');
});

test('a long list is cut', () => {
  const [part] = missing.missing;
  if (part === undefined) throw new Error('one is missing');
  const text = reportText([report(at({ ...missing, missing: Array(25).fill(part) }))]);
  expect(text.split('\n').filter((line) => line.includes(' layer '))).toHaveLength(20);
  expect(text).toContain('\n  and 5 more\n');
});
