import { expect, onTestFinished, test, vi } from 'vitest';
import { neverAborted } from '../../src/lib/abort.ts';
import { Flights } from '../../src/lib/flights.ts';

/** Work that the test ends, and that counts how often it was begun. */
function steered<T>() {
  const begun: { signal: AbortSignal; land(value: T): void; fail(error: Error): void }[] = [];
  const work = (signal: AbortSignal) => {
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    begun.push({ signal, land: resolve, fail: reject });
    return promise;
  };
  return { begun, work };
}

test('callers of one key share one piece of work, and say who joined', async () => {
  const flights = new Flights<string>({ deadline: 10_000 });
  const { begun, work } = steered<string>();
  const calls = [1, 2, 3].map(() => flights.join('a', work, neverAborted));
  begun[0]?.land('value');
  expect(await Promise.all(calls)).toEqual([
    { value: 'value', joined: false },
    { value: 'value', joined: true },
    { value: 'value', joined: true },
  ]);
  expect(begun).toHaveLength(1);
});

test('callers of different keys do not wait for each other', async () => {
  const flights = new Flights<string>({ deadline: 10_000 });
  const { begun, work } = steered<string>();
  const [first, second] = [flights.join('a', work, neverAborted), flights.join('b', work, neverAborted)];
  begun[1]?.land('b');
  expect(await second).toMatchObject({ value: 'b', joined: false });
  begun[0]?.land('a');
  expect(await first).toMatchObject({ value: 'a' });
});

test('a failing leader tells every waiter the same, and the next caller starts anew', async () => {
  const flights = new Flights<string>({ deadline: 10_000 });
  const { begun, work } = steered<string>();
  const calls = [1, 2, 3].map(() => flights.join('a', work, neverAborted));
  const error = new Error('upstream');
  begun[0]?.fail(error);
  for (const result of await Promise.allSettled(calls)) {
    expect(result).toEqual({ status: 'rejected', reason: error });
  }
  const next = flights.join('a', work, neverAborted);
  begun[1]?.land('fresh');
  expect(await next).toEqual({ value: 'fresh', joined: false });
});

test('a caller that leaves does not stop the work, were it the first', async () => {
  const flights = new Flights<string>({ deadline: 10_000 });
  const { begun, work } = steered<string>();
  const leaver = new AbortController();
  const reason = new Error('left');
  const left = flights.join('a', work, leaver.signal);
  const stays = flights.join('a', work, neverAborted);
  leaver.abort(reason);
  await expect(left).rejects.toBe(reason);
  expect(begun[0]?.signal.aborted).toBe(false);
  begun[0]?.land('value');
  expect(await stays).toEqual({ value: 'value', joined: true });
});

test('work goes on when all have left, and its failure then is nobody’s unhandled rejection', async () => {
  const flights = new Flights<string>({ deadline: 10_000 });
  const { begun, work } = steered<string>();
  const leaver = new AbortController();
  const left = flights.join('a', work, leaver.signal);
  leaver.abort(new Error('left'));
  await expect(left).rejects.toThrow('left');
  // Whoever comes now joins the work that went on.
  const late = flights.join('a', work, neverAborted);
  begun[0]?.fail(new Error('failed'));
  await expect(late).rejects.toThrow('failed');
  expect(begun).toHaveLength(1);
});

test('work that exceeds its deadline is aborted, and its callers are told', async () => {
  vi.useFakeTimers();
  onTestFinished(() => {
    vi.useRealTimers();
  });
  const flights = new Flights<string>({ deadline: 500 });
  const begun: AbortSignal[] = [];
  const work = (signal: AbortSignal) => {
    begun.push(signal);
    return new Promise<string>((_resolve, reject) => {
      signal.addEventListener('abort', () => reject(signal.reason));
    });
  };
  const calls = [flights.join('a', work, neverAborted), flights.join('a', work, neverAborted)];
  const settled = Promise.allSettled(calls);
  await vi.advanceTimersByTimeAsync(499);
  expect(begun[0]?.aborted).toBe(false);
  await vi.advanceTimersByTimeAsync(1);
  for (const result of await settled) {
    expect(result).toMatchObject({ status: 'rejected', reason: { code: 'TIMEOUT' } });
  }
});

test('without a deadline work takes as long as it does, and leaves no timer', async () => {
  vi.useFakeTimers();
  onTestFinished(() => void vi.useRealTimers());
  const flights = new Flights<string>();
  const { begun, work } = steered<string>();
  const call = flights.join('a', work, neverAborted);
  expect(vi.getTimerCount()).toBe(0);
  begun[0]?.land('value');
  expect(await call).toEqual({ value: 'value', joined: false });
});

test('it says what is under way, from the moment it is asked for to its end', async () => {
  const flights = new Flights<string>();
  const { begun, work } = steered<string>();
  const calls = ['a', 'b', 'b'].map((key) => flights.join(key, work, neverAborted));
  expect([flights.active, flights.has('a'), flights.has('c')]).toEqual([2, true, false]);
  begun[0]?.land('value');
  await calls[0];
  expect([flights.active, flights.has('a'), flights.has('b')]).toEqual([1, false, true]);
  begun[1]?.fail(new Error('failed'));
  await Promise.allSettled(calls);
  expect(flights.active).toBe(0);
});

test('work that throws at once fails as any other, and leaves nothing behind', async () => {
  vi.useFakeTimers();
  onTestFinished(() => void vi.useRealTimers());
  const flights = new Flights<string>({ deadline: 10_000 });
  const call = flights.join(
    'a',
    () => {
      throw new Error('at once');
    },
    neverAborted,
  );
  await expect(call).rejects.toThrow('at once');
  expect([flights.active, vi.getTimerCount()]).toEqual([0, 0]);
});

test('closing aborts all work under way, and what begins later, and waits for its end', async () => {
  const flights = new Flights<string>();
  const { begun, work } = steered<string>();
  const calls = ['a', 'b'].map((key) => flights.join(key, work, neverAborted));
  const reason = new Error('closed');
  let closed = false;
  const closing = flights.close(reason).then(() => {
    closed = true;
  });
  expect(begun.map(({ signal }) => signal.reason)).toEqual([reason, reason]);
  begun[0]?.fail(reason);
  await expect(calls[0]).rejects.toBe(reason);
  expect(closed).toBe(false);
  begun[1]?.land('after all');
  expect(await calls[1]).toMatchObject({ value: 'after all' });
  await closing;
  void flights.join('late', work, neverAborted);
  expect(begun[2]?.signal.aborted).toBe(true);
  begun[2]?.land('late');
});

test('without a reason closing says that the server stops', async () => {
  const flights = new Flights<string>({ deadline: 10_000 });
  const { begun, work } = steered<string>();
  const calls = ['a', 'b'].map((key) => flights.join(key, work, neverAborted));
  void flights.close();
  for (const { signal, fail } of begun) {
    expect(signal.reason).toMatchObject({ code: 'TIMEOUT', message: 'the server is stopping' });
    fail(signal.reason);
  }
  for (const result of await Promise.allSettled(calls)) expect(result.status).toBe('rejected');
});
