import { setImmediate as turn } from 'node:timers/promises';
import { expect, test, vi } from 'vitest';
import { neverAborted } from '../../src/lib/abort.ts';
import { Slices } from '../../src/lib/concurrency.ts';

test('a slice is over after a few milliseconds, and begins anew after a pause', async () => {
  const now = vi.spyOn(performance, 'now').mockReturnValue(1_000);
  try {
    const slice = new Slices().begin();
    expect(slice.over).toBe(false);
    now.mockReturnValue(1_001.9);
    expect(slice.over).toBe(false);
    now.mockReturnValue(1_002);
    expect(slice.over).toBe(true);
    await slice.pause(neverAborted);
    expect(slice.over).toBe(false);
  } finally {
    now.mockRestore();
  }
});

test('one piece of work goes on in each turn of the event loop, in the order in which they paused', async () => {
  const slices = new Slices();
  const order: string[] = [];
  const work = async (name: string) => {
    const slice = slices.begin();
    for (let step = 0; step < 2; step += 1) {
      await slice.pause(neverAborted);
      order.push(`${name}${step}`);
    }
  };
  const all = Promise.all(['a', 'b', 'c'].map(work));
  const counts: number[] = [];
  for (let index = 0; index < 8; index += 1) {
    await turn();
    counts.push(order.length);
  }
  await all;
  expect(order).toEqual(['a0', 'b0', 'c0', 'a1', 'b1', 'c1']);
  const steps = counts.map((count, index) => count - (counts[index - 1] ?? 0));
  expect(Math.max(...steps)).toBe(1);
});

test('work that nobody waits for any more ends at its next pause', async () => {
  const slices = new Slices();
  const gone = new AbortController();
  const paused = slices.begin().pause(gone.signal);
  const other = slices.begin().pause(neverAborted);
  gone.abort(new Error('the client went away'));
  await expect(paused).rejects.toThrow('went away');
  await other;
});
