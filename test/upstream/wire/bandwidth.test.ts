import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import fc from 'fast-check';
import { describe, expect, onTestFinished, test } from 'vitest';
import { Bandwidth, reserveAll } from '../../../src/upstream/wire/bandwidth.ts';
import { within } from '../../helpers/gate.ts';

const second = 1_000_000_000n;
const millisecond = 1_000_000n;
const burst = 100n * millisecond;

/** A clock that stands still until it is set. */
function standingClock() {
  const clock = { time: 0n, now: () => clock.time };
  return clock;
}

/** What one connection does next: bytes read, and nanoseconds until it comes back beyond the wait it was told. */
type Step = { readonly bytes: number; readonly idle: number };
type Release = { readonly at: bigint; readonly bytes: number; readonly wait: number };

/** Runs connections that each reserve what they read and then wait, every one with its own instance. */
function run(rate: number, plans: readonly (readonly Step[])[]) {
  const clock = standingClock();
  const { shared } = Bandwidth.make(rate, clock.now);
  const connections = plans.map((plan) => ({
    bandwidth: Bandwidth.attach(shared, clock.now),
    steps: [...plan],
    due: clock.time,
  }));
  const releases: Release[] = [];
  for (;;) {
    const waiting = connections.filter(({ steps }) => steps.length > 0);
    const [next] = waiting.sort((a, b) => Number(a.due - b.due));
    const step = next?.steps.shift();
    if (next === undefined || step === undefined) break;
    clock.time = next.due > clock.time ? next.due : clock.time;
    const wait = next.bandwidth.reserve(step.bytes);
    const at = clock.time + BigInt(wait) * millisecond;
    releases.push({ at, bytes: step.bytes, wait });
    next.due = at + BigInt(step.idle);
  }
  const largest = Math.max(...releases.map(({ bytes }) => bytes));
  return { releases, largest };
}

const rates = fc.oneof(fc.integer({ min: 1, max: 1_000 }), fc.integer({ min: 65_536, max: 2 ** 36 }));
const sizes = fc.oneof(fc.nat(70_000), fc.constantFrom(0, 1, 65_536));
const idles = fc.oneof(fc.constant(0), fc.nat(1_000_000), fc.nat(3_000_000_000));
const plan = fc.array(fc.record({ bytes: sizes, idle: idles }), { minLength: 1, maxLength: 20 });
const manyPlans = fc.array(plan, { minLength: 1, maxLength: 5 });

/** Nanoseconds that `bytes` take, rounded up. */
const costOf = (bytes: number, rate: number) => (BigInt(bytes) * second) / BigInt(rate) + 1n;

describe('a bandwidth', () => {
  test('is kept over every span by any number of instances, but for one burst', () => {
    fc.assert(
      fc.property(rates, manyPlans, (rate, plans) => {
        const { releases, largest } = run(rate, plans);
        const inOrder = releases.toSorted((a, b) => Number(a.at - b.at));
        const oneReservation = costOf(largest, rate) + millisecond;
        // Each instance may owe less than a nanosecond.
        const slack = (burst > oneReservation ? burst : oneReservation) + BigInt(plans.length);
        for (const [index, first] of inOrder.entries()) {
          let bytes = 0n;
          for (const last of inOrder.slice(index)) {
            bytes += BigInt(last.bytes);
            expect(bytes * second).toBeLessThanOrEqual(BigInt(rate) * (last.at - first.at + slack));
          }
        }
      }),
    );
  });

  test('is used up: what waits too long, within the burst, is made up for', () => {
    const steps = fc.array(fc.record({ bytes: sizes, oversleep: fc.nat(98_000_000) }), { maxLength: 50 });
    fc.assert(
      fc.property(rates, steps, (rate, reads) => {
        const clock = standingClock();
        const bandwidth = Bandwidth.make(rate, clock.now);
        let total = 0n;
        for (const { bytes, oversleep } of [{ bytes: rate, oversleep: 0 }, ...reads]) {
          const wait = bandwidth.reserve(bytes);
          if (wait > 0) clock.time += BigInt(wait) * millisecond + BigInt(oversleep);
          total += BigInt(bytes);
        }
        clock.time = 0n;
        const due = (total * second) / BigInt(rate) - burst;
        expect(bandwidth.reserve(0)).toBe(Number((due + millisecond - 1n) / millisecond));
      }),
    );
  });

  test('starves nobody: a wait is never longer than one reservation of everybody takes', () => {
    fc.assert(
      fc.property(rates, manyPlans, (rate, plans) => {
        const { releases, largest } = run(rate, plans);
        const longest = BigInt(plans.length) * costOf(largest, rate) + millisecond;
        for (const { wait } of releases) expect(BigInt(wait) * millisecond).toBeLessThanOrEqual(longest);
      }),
    );
  });

  test('does not drift where a byte is no whole number of nanoseconds', () => {
    const clock = standingClock();
    const bandwidth = Bandwidth.make(3_000_000_007, clock.now);
    for (let count = 0; count < 100_000; count++) bandwidth.reserve(1);
    for (let count = 0; count < 3_000; count++) bandwidth.reserve(3_000_000_007);
    expect(bandwidth.reserve(0)).toBe(3_000_000 - 100 + 1);
    clock.time = 3_000n * second - burst + 33_333n;
    expect(bandwidth.reserve(0)).toBe(0);
    clock.time -= 2n;
    expect(bandwidth.reserve(0)).toBe(1);
  });

  test('lets a burst of 100 ms through at once, and no second one before it was idle as long', () => {
    const clock = standingClock();
    const bandwidth = Bandwidth.make(1_000_000, clock.now);
    expect([bandwidth.reserve(60_000), bandwidth.reserve(40_000), bandwidth.reserve(1)]).toEqual([0, 0, 1]);
    clock.time = 50n * millisecond;
    expect([bandwidth.reserve(49_999), bandwidth.reserve(10_000)]).toEqual([0, 10]);
    clock.time = 3_600n * second;
    expect([bandwidth.reserve(100_000), bandwidth.reserve(1_000)]).toEqual([0, 1]);
  });

  test('lets a reservation beyond the burst go on when it is paid for', () => {
    const bandwidth = Bandwidth.make(65_536, () => 0n);
    expect([bandwidth.reserve(65_536), bandwidth.reserve(65_536)]).toEqual([900, 1_900]);
  });

  test('is carried by its memory, the rate too', () => {
    const { shared } = Bandwidth.make(20 * 1024 ** 2, () => 0n);
    expect(Bandwidth.attach(shared).bytesPerSecond).toBe(20 * 1024 ** 2);
  });

  test('is a whole number of bytes, as is what is reserved', () => {
    for (const rate of [0, -1, 0.5, Number.NaN, Number.POSITIVE_INFINITY]) {
      expect(() => Bandwidth.make(rate)).toThrow(RangeError);
    }
    for (const bytes of [-1, 0.5, Number.NaN, Number.POSITIVE_INFINITY]) {
      expect(() => Bandwidth.make(1).reserve(bytes)).toThrow(RangeError);
    }
  });
});

describe('several bandwidths', () => {
  test('are all reserved, and the longest wait counts', () => {
    const now = () => 0n;
    const own = Bandwidth.make(1_000_000, now);
    const common = Bandwidth.make(10_000_000, now);
    expect(reserveAll([own, common], 300_000)(0)).toBe(200);
    expect(reserveAll([common, own], 0)(0)).toBe(200);
    expect(reserveAll([common], 1_200_000)(0)).toBe(50);
    expect(reserveAll([], 1_000_000)(0)).toBe(0);
  });

  test('are waited for until the time is over, or those that hold are lifted', () => {
    const now = () => 0n;
    const own = Bandwidth.make(1_000_000, now);
    const common = Bandwidth.make(5_000_000, now);
    const left = reserveAll([own, common], 1_000_000);
    expect([0, 0.5, 800, 900, 1_000].map(left)).toEqual([900, 900, 100, 0, 0]);
    const restore = own.lift();
    expect([0, 100].map(left)).toEqual([100, 0]);
    restore();
    expect(left(0)).toBe(900);
  });
});

describe('two threads', () => {
  const source = `
    const { parentPort, workerData } = require('node:worker_threads');
    const { module, shared, go, count } = workerData;
    import(module).then(({ Bandwidth }) => {
      const bandwidth = Bandwidth.attach(shared, () => 0n);
      parentPort.postMessage('ready');
      Atomics.wait(new Int32Array(go), 0, 0);
      const waits = new Uint32Array(count);
      for (let index = 0; index < count; index++) waits[index] = bandwidth.reserve(1000);
      parentPort.postMessage(waits);
    });
  `;
  const module = new URL('../../../src/upstream/wire/bandwidth.ts', import.meta.url).href;

  test('never get the same place in the queue, nor leave one out', async () => {
    const count = 50_000;
    const { shared } = Bandwidth.make(1_000_000, () => 0n);
    const go = new SharedArrayBuffer(4);
    const workers = [1, 2].map(
      () => new Worker(source, { eval: true, workerData: { module, shared, go, count } }),
    );
    onTestFinished(async () => {
      await Promise.all(workers.map((worker) => worker.terminate()));
    });
    await within(Promise.all(workers.map((worker) => once(worker, 'message'))), 'both threads to be ready');
    const answers = Promise.all(workers.map((worker) => once(worker, 'message')));
    Atomics.store(new Int32Array(go), 0, 1);
    Atomics.notify(new Int32Array(go), 0);
    const waits = (await within(answers, 'the waits')).flatMap(([taken]) => [...(taken as Uint32Array)]);
    const inOrder = waits.toSorted((a, b) => a - b);
    // Not compared as arrays: to print how they differ would take a minute.
    const wrong = inOrder.findIndex((wait, index) => wait !== Math.max(0, index + 1 - 100));
    expect({ reservations: inOrder.length, wrong }).toEqual({ reservations: 2 * count, wrong: -1 });
  });

  test('lift it for each other, and what went through then is not made up for', () => {
    const clock = standingClock();
    const { shared } = Bandwidth.make(1_000, clock.now);
    const [one, other] = [Bandwidth.attach(shared, clock.now), Bandwidth.attach(shared, clock.now)];
    const restore = one.lift();
    const restoreToo = other.lift();
    expect(other.reserve(1_000_000)).toBe(0);
    restore();
    restore();
    expect(other.lifted).toBe(true);
    expect(other.reserve(1_000_000)).toBe(0);
    restoreToo();
    expect(one.lifted).toBe(false);
    expect(other.reserve(1_100)).toBe(1_000);
  });

  test('read one clock', async () => {
    const answering = `
      const { parentPort } = require('node:worker_threads');
      parentPort.on('message', () => parentPort.postMessage(process.hrtime.bigint()));
    `;
    const worker = new Worker(answering, { eval: true });
    onTestFinished(async () => {
      await worker.terminate();
    });
    for (let round = 0; round < 20; round++) {
      const before = process.hrtime.bigint();
      worker.postMessage('what time is it');
      const [there] = (await within(once(worker, 'message'), 'the time')) as [bigint];
      expect(there).toBeGreaterThan(before);
      expect(there).toBeLessThan(process.hrtime.bigint());
    }
  });
});
