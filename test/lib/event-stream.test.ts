import { expect, test } from 'vitest';
import { neverAborted } from '../../src/lib/abort.ts';
import { eventStream } from '../../src/lib/event-stream.ts';
import { makeGate, within } from '../helpers/gate.ts';

async function all<T>(events: AsyncIterable<T>): Promise<T[]> {
  const seen: T[] = [];
  for await (const event of events) seen.push(event);
  return seen;
}

test('events come in order, those before a failure too, which is thrown after them', async () => {
  const seen: number[] = [];
  const read = async () => {
    const events = eventStream<number>(async (emit) => {
      emit(1);
      await Promise.resolve();
      emit(2);
      throw new Error('then this');
    }, neverAborted);
    for await (const event of events) seen.push(event);
  };
  await expect(read()).rejects.toThrow('then this');
  expect(seen).toEqual([1, 2]);
});

test('leaving early stops the work, and the end waits for it', async () => {
  const log: string[] = [];
  const events = eventStream<number>(async (emit, signal) => {
    emit(1);
    await new Promise((resolve) => signal.addEventListener('abort', resolve));
    log.push('work ended');
  }, neverAborted);
  for await (const _event of events) break;
  log.push('left');
  expect(log).toEqual(['work ended', 'left']);
});

test('an abort ends a stream that waits, without a failure', async () => {
  const controller = new AbortController();
  const waiting = makeGate();
  const events = all(
    eventStream<number>(async (emit, signal) => {
      emit(1);
      waiting.open();
      await new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)));
    }, controller.signal),
  );
  await waiting.opened;
  controller.abort(new Error('interrupted'));
  expect(await within(events, 'the end')).toEqual([1]);
});

test('a slow reader misses what may be missed, and nothing else', async () => {
  const events = eventStream<string>(
    async (emit) => {
      for (let count = 0; count < 5_000; count += 1) emit('progress');
      emit('end');
    },
    neverAborted,
    (event) => event === 'progress',
  );
  const seen = await all(events);
  expect(seen.length).toBeLessThan(1_100);
  expect(seen.at(-1)).toBe('end');
});
