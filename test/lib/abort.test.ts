import { getEventListeners } from 'node:events';
import { expect, test } from 'vitest';
import { abandonOnAbort, delay, neverAborted, TimeoutError } from '../../src/lib/abort.ts';

const reason = new Error('left');

test('what is waited for comes through, value or failure', async () => {
  const { signal } = new AbortController();
  await expect(abandonOnAbort(Promise.resolve(1), signal)).resolves.toBe(1);
  await expect(abandonOnAbort(Promise.reject(reason), signal)).rejects.toBe(reason);
});

test('an abort ends the wait at once and leaves the work alone', async () => {
  const controller = new AbortController();
  const work = Promise.withResolvers<number>();
  const waiting = abandonOnAbort(work.promise, controller.signal);
  controller.abort(reason);
  await expect(waiting).rejects.toBe(reason);
  work.resolve(2);
  await expect(work.promise).resolves.toBe(2);
});

test('a failure that comes after the abort is nobody’s unhandled rejection', async () => {
  const controller = new AbortController();
  const work = Promise.withResolvers<number>();
  const waiting = abandonOnAbort(work.promise, controller.signal);
  controller.abort(reason);
  await expect(waiting).rejects.toBe(reason);
  // Vitest fails the run on an unhandled rejection.
  work.reject(new Error('too late'));
  await new Promise(setImmediate);
});

test('a signal that was aborted before rejects without looking at the work', async () => {
  await expect(abandonOnAbort(Promise.resolve(1), AbortSignal.abort(reason))).rejects.toBe(reason);
  await expect(delay(1e6, AbortSignal.abort(reason))).rejects.toBe(reason);
});

test('waiting often on one long-lived signal leaves no listeners behind', async () => {
  const { signal } = new AbortController();
  for (let turn = 0; turn < 20; turn++) {
    await abandonOnAbort(Promise.resolve(), signal);
    await delay(0, signal);
  }
  await new Promise(setImmediate);
  expect(getEventListeners(signal, 'abort')).toHaveLength(0);
});

test('a delay ends in time, or at the abort', async () => {
  await delay(1, neverAborted);
  const controller = new AbortController();
  const waiting = delay(1e6, controller.signal);
  controller.abort(reason);
  await expect(waiting).rejects.toBe(reason);
});

test('a timeout has a stable code', () => {
  expect(new TimeoutError('late')).toMatchObject({ code: 'TIMEOUT', message: 'late' });
});
