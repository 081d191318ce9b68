import { expect, test } from 'vitest';
import { Growth } from '../../../src/pull/download/growth.ts';

const megabyte = 1_000_000;

/** Milliseconds between two looks. */
const look = 25;

/** A download of so many bytes whose speed depends on how many connections it has. */
function line(size: number, rateOf: (connections: number) => number) {
  const growth = new Growth();
  let [now, bytes] = [0, 0];
  const allowed: number[] = [];
  return {
    growth,
    /** Goes on for so many milliseconds, and to the end at most. */
    run(ms: number, busy = true): void {
      for (const end = now + ms; now < end && bytes < size; ) {
        growth.observe({ bytes, left: size - bytes, busy, utilization: 0, now });
        if (growth.allowed !== allowed.at(-1)) allowed.push(growth.allowed);
        bytes = Math.min(size, bytes + rateOf(growth.allowed) * (look / 1_000));
        now += look;
      }
    },
    /** How many connections were allowed, one number for each change. */
    allowed,
    seconds: () => now / 1000,
  };
}

/** How wide the first step is. */
function firstStep(): number {
  const { run, allowed } = line(1_000 * megabyte, (connections) => connections * megabyte);
  run(1_000);
  return allowed[1] ?? 0;
}

test('it begins with one connection', () => {
  expect(new Growth().allowed).toBe(1);
});

test('a line that throttles each connection gets more of them, as long as the whole becomes faster', () => {
  const { run, allowed } = line(1_000 * megabyte, (connections) => connections * megabyte);
  run(1_000);
  const wide = firstStep();
  expect(wide).toBeGreaterThan(1);
  expect(allowed.slice(0, 4)).toEqual([1, wide, 2 * wide, 4 * wide]);
});

test('a blob that one connection brings in a moment is not split', () => {
  const { run, growth, allowed } = line(10 * megabyte, () => 20 * megabyte);
  run(5_000);
  expect(allowed).toEqual([1]);
  expect(growth.allowed).toBe(1);
});

test('a line that is full with one connection goes back to one and stays there', () => {
  const { run, allowed } = line(1_000 * megabyte, () => 10 * megabyte);
  run(9_000);
  expect(allowed).toEqual([1, firstStep(), 1]);
});

test('a step too far is taken back, and only that', () => {
  const most = firstStep();
  const { run, allowed } = line(1_000 * megabyte, (connections) => Math.min(connections, most) * megabyte);
  run(5_000);
  expect(allowed).toEqual([1, most, 2 * most, most]);
});

test('after a while it tries again, in case the line has changed', () => {
  let most = 1;
  const { run, growth, allowed } = line(
    10_000 * megabyte,
    (connections) => Math.min(connections, most) * megabyte,
  );
  run(9_000);
  expect(allowed).toEqual([1, firstStep(), 1]);
  most = firstStep();
  run(12_000);
  expect(growth.allowed).toBe(most);
});

test('near the end no connection is added any more', () => {
  const { run, growth, allowed } = line(5 * megabyte, (connections) => connections * megabyte);
  run(700);
  expect(allowed.length).toBeGreaterThan(1);
  const before = growth.allowed;
  // What is left takes less than two seconds from here on.
  run(10_000);
  expect(growth.allowed).toBeLessThanOrEqual(before);
});

test('while not all of its connections deliver nothing is measured, and nothing decided', () => {
  const { run, growth } = line(1_000 * megabyte, (connections) => connections * megabyte);
  run(5_000, false);
  expect(growth.allowed).toBe(1);
});

test('a line that brings nothing gets no more connections', () => {
  const { run, growth } = line(1_000 * megabyte, () => 0);
  run(9_000);
  expect(growth.allowed).toBe(1);
});

test('what an earlier run left is not taken for speed', () => {
  const growth = new Growth();
  let bytes = 500 * megabyte;
  for (let now = 0; now < 2_000 && growth.allowed === 1; now += look) {
    growth.observe({ bytes, left: 500 * megabyte, busy: now > 50, utilization: 0, now });
    bytes += megabyte * (look / 1_000);
  }
  expect(growth.allowed).toBe(firstStep());
});

test('a connection that is still speeding up is not judged yet', () => {
  const growth = new Growth();
  let bytes = 0;
  // Twice as quick each 100 ms, as TCP begins.
  for (let now = 0; now < 600; now += look) {
    growth.observe({ bytes, left: 1_000 * megabyte, busy: true, utilization: 0, now });
    bytes += 10_000 * 2 ** Math.floor(now / 100);
  }
  expect(growth.allowed).toBe(1);
});

test('while this machine is too busy to look in time nothing is decided', () => {
  const growth = new Growth();
  for (let turn = 0; turn < 50; turn += 1) {
    growth.observe({
      bytes: turn * megabyte,
      left: 1_000 * megabyte,
      busy: true,
      utilization: 0,
      now: turn * 1_000,
    });
    expect(growth.allowed).toBe(1);
  }
});

test('a fill whose thread is itself what is slow keeps its one connection', () => {
  const growth = new Growth();
  for (let now = 0; now <= 5_000; now += 25) {
    growth.observe({ bytes: now * 5_000, left: 500_000_000, busy: true, utilization: 0.9, now });
  }
  expect(growth.allowed).toBe(1);
});
