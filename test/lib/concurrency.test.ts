import { describe, expect, test } from 'vitest';
import { neverAborted } from '../../src/lib/abort.ts';
import { eachAtOnce, Semaphore } from '../../src/lib/concurrency.ts';
import { makeGate } from '../helpers/gate.ts';

describe('semaphore', () => {
  test('no more are given at once than there are, and the rest come in order', async () => {
    const semaphore = new Semaphore({ most: 2 });
    const log: string[] = [];
    const take = async (name: string) => {
      const end = await semaphore.acquire(neverAborted);
      log.push(name);
      return end;
    };
    const [a] = await Promise.all([take('a'), take('b')]);
    const [c, d] = [take('c'), take('d')];
    await Promise.resolve();
    expect(log).toEqual(['a', 'b']);
    a?.();
    // Ending a turn twice gives no second one away.
    a?.();
    (await c)();
    (await d)();
    expect(log).toEqual(['a', 'b', 'c', 'd']);
  });

  test('who leaves while waiting takes no turn from the next', async () => {
    const semaphore = new Semaphore({ most: 1 });
    const end = await semaphore.acquire(neverAborted);
    const leaving = new AbortController();
    const left = semaphore.acquire(leaving.signal);
    const next = semaphore.acquire(neverAborted);
    leaving.abort(new Error('left'));
    await expect(left).rejects.toThrow('left');
    end();
    (await next)();
    await expect(semaphore.acquire(leaving.signal)).rejects.toThrow('left');
    (await semaphore.acquire(neverAborted))();
  });
});

describe('eachAtOnce', () => {
  test('does all, no more at once than told', async () => {
    let [running, most] = [0, 0];
    const done: number[] = [];
    await eachAtOnce([1, 2, 3, 4, 5], 2, async (item) => {
      running += 1;
      most = Math.max(most, running);
      await Promise.resolve();
      running -= 1;
      done.push(item);
    });
    expect([most, done.sort()]).toEqual([2, [1, 2, 3, 4, 5]]);
  });

  test('a failure is thrown once what was begun has ended, and nothing else is begun', async () => {
    const gate = makeGate();
    const begun: number[] = [];
    const ended: number[] = [];
    const all = eachAtOnce([1, 2, 3], 2, async (item) => {
      begun.push(item);
      if (item === 2) throw new Error('two');
      await gate.opened;
      ended.push(item);
    });
    gate.open();
    await expect(all).rejects.toThrow('two');
    expect([begun, ended]).toEqual([[1, 2], [1]]);
  });
});
