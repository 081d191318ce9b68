import { expect, test } from 'vitest';
import { LoginThrottle, throttleKey } from '../../src/policy/login-throttle.ts';
import { makeManualClock } from '../helpers/manual-clock.ts';

function makeThrottle() {
  const clock = makeManualClock();
  return { clock, throttle: new LoginThrottle({ clock }, { attempts: 3, period: 60_000 }) };
}

test('a client has so many attempts, and is told when the next comes', () => {
  const { clock, throttle } = makeThrottle();
  expect([1, 2, 3].map(() => throttle.take('192.0.2.1'))).toEqual([undefined, undefined, undefined]);
  expect(throttle.take('192.0.2.1')).toBe(20);
  clock.advance(5_000);
  expect(throttle.take('192.0.2.1')).toBe(15);
  clock.advance(15_000);
  expect(throttle.take('192.0.2.1')).toBeUndefined();
  expect(throttle.take('192.0.2.1')).toBe(20);
});

test('clients are counted apart, and being refused costs nothing', () => {
  const { clock, throttle } = makeThrottle();
  for (let attempt = 0; attempt < 50; attempt++) throttle.take('192.0.2.1');
  expect(throttle.take('192.0.2.2')).toBeUndefined();
  clock.advance(20_000);
  expect(throttle.take('192.0.2.1')).toBeUndefined();
});

test('what is given back can be taken again, and never more than there were', () => {
  const { throttle } = makeThrottle();
  for (let login = 0; login < 20; login++) {
    expect(throttle.take('192.0.2.1')).toBeUndefined();
    throttle.giveBack('192.0.2.1');
  }
  throttle.giveBack('192.0.2.1');
  expect([1, 2, 3, 4].map(() => throttle.take('192.0.2.1') === undefined)).toEqual([true, true, true, false]);
});

test('a clock that goes backwards gives nothing away', () => {
  const { clock, throttle } = makeThrottle();
  for (let attempt = 0; attempt < 3; attempt++) throttle.take('192.0.2.1');
  clock.advance(-3_600_000);
  expect(throttle.take('192.0.2.1')).toBe(20);
});

test('the memory is bounded: the client heard of longest ago is forgotten', () => {
  const { throttle } = makeThrottle();
  for (let attempt = 0; attempt < 3; attempt++) throttle.take('192.0.2.1');
  for (let client = 0; client < 10_000; client++) throttle.take(`10.0.${client >> 8}.${client & 255}`);
  expect(throttle.take('192.0.2.1')).toBeUndefined();
});

test.each([
  ['192.0.2.1', '192.0.2.1'],
  ['::ffff:192.0.2.1', '192.0.2.1'],
  ['::1', '0:0:0:0::/64'],
  ['2001:db8:0:7:1234::1', '2001:db8:0:7::/64'],
  ['2001:DB8:0:7::2', '2001:db8:0:7::/64'],
  ['2001:0db8:0000:0007:0:0:0:3', '2001:db8:0:7::/64'],
  ['2001:db8::8:1:2:3:4', '2001:db8:0:8::/64'],
  ['fe80::1%eth0', 'fe80:0:0:0::/64'],
])('%s counts as %s', (address, key) => {
  expect(throttleKey(address)).toBe(key);
});
