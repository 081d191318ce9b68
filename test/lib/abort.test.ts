import { getEventListeners } from 'node:events';
import { expect, test } from 'vitest';
import { abandonOnAbort, delay, neverAborted, orAfter, TimeoutError } from '../../src/lib/abort.ts';

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

test('what comes in time is taken, failure included, and what does not is replaced', async () => {
  const instead = () => 'instead';
  expect(await orAfter(Promise.resolve('value'), 1e6, neverAborted, instead)).toBe('value');
  await expect(orAfter(Promise.reject(reason), 1e6, neverAborted, instead)).rejects.toBe(reason);
  const late = Promise.withResolvers<string>();
  expect(await orAfter(late.promise, 1, neverAborted, instead)).toBe('instead');
  // What fails after it was given up is nobody's unhandled rejection.
  late.reject(reason);
  await new Promise(setImmediate);
});

test('an abort ends the wait for what may be replaced', async () => {
  const controller = new AbortController();
  const waiting = orAfter(new Promise(() => undefined), 1e6, controller.signal, () => 'instead');
  controller.abort(reason);
  await expect(waiting).rejects.toBe(reason);
});

test('a timeout has a stable code', () => {
  expect(new TimeoutError('late')).toMatchObject({ code: 'TIMEOUT', message: 'late' });
});
