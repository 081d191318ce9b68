import { describe, expect, test } from 'vitest';
import { neverAborted } from '../../src/lib/abort.ts';
import { eachAtOnce, Turns } from '../../src/lib/turns.ts';
import { makeGate } from '../helpers/gate.ts';

describe('turns', () => {
  test('no more are given at once than there are, and the rest come in order', async () => {
    const turns = new Turns({ most: 2 });
    const log: string[] = [];
    const take = async (name: string) => {
      const end = await turns.take(neverAborted);
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
    const turns = new Turns({ most: 1 });
    const end = await turns.take(neverAborted);
    const leaving = new AbortController();
    const left = turns.take(leaving.signal);
    const next = turns.take(neverAborted);
    leaving.abort(new Error('left'));
    await expect(left).rejects.toThrow('left');
    end();
    (await next)();
    await expect(turns.take(leaving.signal)).rejects.toThrow('left');
    (await turns.take(neverAborted))();
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
