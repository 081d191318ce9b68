import { expect, test } from 'vitest';
import { atMost, below, Samples } from '../../bench/harness/samples.ts';

function rows(party: string, ...values: number[]): Samples {
  const samples = new Samples();
  for (const value of values) samples.add(party, value);
  return samples;
}

test('a target on our own value is met strictly below its limit, and says so in the row', () => {
  const target = below(250e6 / 1024 ** 2, 'MiB (250 MB)');
  const row = { metric: 'peak', unit: 'MiB', target };
  expect(rows('entrepot', 238).toResult(row)).toMatchObject({ target: '< 238.4 MiB (250 MB)', met: true });
  expect(rows('entrepot', 249).toResult(row)).toMatchObject({ met: false });
  expect(rows('entrepot', 20).toResult({ ...row, target: below(20, 'ms') })).toMatchObject({
    target: '< 20 ms',
    met: false,
  });
});

test('a run without entrepot names the target and judges nothing', () => {
  const result = rows('nginx', 1, 2, 3).toResult({ metric: 'wall', unit: 's', target: below(20, 's') });
  expect(result).toEqual({ metric: 'wall', unit: 's', peers: { nginx: 2 }, target: '< 20 s' });
});

test('a ratio is the middle of the ratios of the rounds, not the ratio of two middles', () => {
  const samples = rows('entrepot', 1, 10, 3);
  for (const value of [1, 5, 30]) samples.add('nginx', value);
  const result = samples.toResult({ metric: 'wall', unit: 's', versus: 'nginx', target: atMost(1) });
  expect(result).toMatchObject({ entrepot: 3, ratio: 1, versus: 'nginx', met: true });
});
