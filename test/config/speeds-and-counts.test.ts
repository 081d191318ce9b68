import { describe, expect, test } from 'vitest';
import { loadFrom, refusalOf } from './complaints.ts';

/** What is wrong with a configuration: `LINE PATH: MESSAGE` for each problem. */
function complaints(yaml: string): string[] {
  const { problems } = refusalOf(() => loadFrom(yaml));
  return problems.map(({ line, path, message }) => `${line} ${path}: ${message}`);
}

const upstream = (text: string) =>
  `registries:\n  docker.io:\n    upstreams:\n      - url: https://a.example\n${text}`;
const at = 'registries.docker.io.upstreams[0]';

describe('a speed or a count of the wrong form', () => {
  const speed = 'must be a size per second with a unit (KiB, MiB, GiB), such as 20MiB';
  const number = (max: number) => `must be a whole number from 1 to ${max}, without quotes`;

  test.each([
    ['limits: {connections: 0}', `1 limits.connections: ${number(1024)}`],
    ['limits: {connections: 1025}', `1 limits.connections: ${number(1024)}`],
    ['limits: {maxBandwidth: 1048576}', `1 limits.maxBandwidth: ${speed}`],
    ['limits: {maxBandwidth: off}', `1 limits.maxBandwidth: ${speed}`],
    ['limits: {maxBandwidth: 63KiB}', '1 limits.maxBandwidth: must be at least 64KiB (per second)'],
    [upstream('        maxConnections: 0'), `5 ${at}.maxConnections: ${number(32)}`],
    [upstream('        maxConnections: 33'), `5 ${at}.maxConnections: ${number(32)}`],
    [upstream('        maxConnections: 1.5'), `5 ${at}.maxConnections: ${number(32)}`],
    [upstream('        maxConnections: "4"'), `5 ${at}.maxConnections: ${number(32)}`],
    [upstream('        maxConnections: .inf'), `5 ${at}.maxConnections: ${number(32)}`],
    [
      upstream('        maxConnections:'),
      `5 ${at}.maxConnections: is empty: give it a value or remove the key`,
    ],
    [upstream('        maxBandwidth: 20MiB/s'), `5 ${at}.maxBandwidth: ${speed}`],
    [upstream('        maxBandwidth: 65535B'), `5 ${at}.maxBandwidth: must be at least 64KiB (per second)`],
    [upstream('        minSpeed: 0'), `5 ${at}.minSpeed: ${speed}, or off`],
    [upstream('        minSpeed: false'), `5 ${at}.minSpeed: ${speed}, or off`],
    [upstream('        minSpeed: 0B'), `5 ${at}.minSpeed: must be at least 1B (per second), or off`],
  ])('%j is named with its line and path', (yaml, expected) => {
    expect(complaints(yaml)).toEqual([expected]);
  });
});

describe('the least speed of an upstream', () => {
  test('must be below the bandwidth that it and all together may have', () => {
    const yaml = `limits: {maxBandwidth: 1MiB}\n${upstream('        minSpeed: 1MiB\n        maxBandwidth: 64KiB')}`;
    expect(complaints(yaml)).toEqual([
      `6 ${at}.minSpeed: must be less than maxBandwidth`,
      `6 ${at}.minSpeed: must be less than limits.maxBandwidth`,
    ]);
    loadFrom(upstream('        minSpeed: off\n        maxBandwidth: 64KiB'));
    loadFrom(upstream('        minSpeed: 65535B\n        maxBandwidth: 64KiB'));
  });
});
