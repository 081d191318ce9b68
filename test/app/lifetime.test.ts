import { expect, onTestFinished, test, vi } from 'vitest';
import { CloseError, Lifetime } from '../../src/app/lifetime.ts';
import { captureLog } from '../helpers/capture-log.ts';

function begin() {
  const logs = captureLog();
  const lifetime = new Lifetime({ log: logs.log }, { drainTimeout: 1_000 });
  const order: string[] = [];
  const opened = (name: string, ends?: () => Promise<void> | void) => {
    lifetime.onClose(() => {
      order.push(name);
      return ends?.();
    });
  };
  return { lifetime, logs, order, opened };
}

/** What `promise` is rejected with. */
async function failureOf(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    () => undefined,
    (error: unknown) => error,
  );
}

test('closers run in the opposite order, one after the other, once', async () => {
  const { lifetime, order, opened } = begin();
  opened('first');
  opened('second', async () => {
    await Promise.resolve();
    order.push('second ended');
  });
  const closing = lifetime.close();
  expect(lifetime.close()).toBe(closing);
  await closing;
  await lifetime.close();
  expect(order).toEqual(['second', 'second ended', 'first']);
});

test('closers that fail, at once or later, keep none of the others from its turn', async () => {
  const { lifetime, logs, order, opened } = begin();
  opened('index');
  opened('workers', () => Promise.reject(new Error('a worker is lost')));
  opened('server');
  opened('times', () => {
    throw Object.assign(new Error('database or disk is full'), { code: 'SQLITE_FULL' });
  });
  const failure = await failureOf(lifetime.close());
  expect(order).toEqual(['times', 'server', 'workers', 'index']);
  expect(failure).toBeInstanceOf(CloseError);
  expect(failure).toBeInstanceOf(AggregateError);
  const { code, message, errors } = failure as CloseError;
  expect(code).toBe('CLOSE');
  expect(message).toBe('not everything could be closed: database or disk is full; a worker is lost');
  expect(errors.map((error) => (error as Error).message)).toEqual([
    'database or disk is full',
    'a worker is lost',
  ]);
  expect(logs.lines.map(({ level, message: text, fields }) => [level, text, fields['code']])).toEqual([
    ['error', 'not closed', 'SQLITE_FULL'],
    ['error', 'not closed', undefined],
  ]);
  expect(await failureOf(lifetime.close())).toBe(failure);
});

test('a closer that hangs is left behind when its time is over', async () => {
  vi.useFakeTimers();
  onTestFinished(() => void vi.useRealTimers());
  const { lifetime, order, opened } = begin();
  opened('index');
  opened('server', () => new Promise(() => {}));
  const closing = failureOf(lifetime.close());
  await vi.advanceTimersByTimeAsync(30_999);
  expect(order).toEqual(['server']);
  await vi.advanceTimersByTimeAsync(1);
  expect(await closing).toMatchObject({ code: 'CLOSE', errors: [{ code: 'TIMEOUT' }] });
  expect(order).toEqual(['server', 'index']);
  expect(vi.getTimerCount()).toBe(0);
});

test('a closer that ends in time leaves no timer', async () => {
  vi.useFakeTimers();
  onTestFinished(() => void vi.useRealTimers());
  const { lifetime, opened } = begin();
  opened('server', () => Promise.resolve());
  await lifetime.close();
  expect(vi.getTimerCount()).toBe(0);
});

test('what is opened while others are closed is closed too', async () => {
  const { lifetime, order, opened } = begin();
  opened('first');
  opened('second', () => opened('third'));
  await lifetime.close();
  expect(order).toEqual(['second', 'third', 'first']);
});

test('what is opened after the end is closed at once, and refused', async () => {
  const { lifetime, order, opened } = begin();
  await lifetime.close();
  expect(() => opened('late')).toThrow('was closed while it was being opened');
  expect(order).toEqual(['late']);
});

test('after a failure everything is closed, and the failure is what is thrown', async () => {
  const { lifetime, logs, order, opened } = begin();
  opened('index', () => Promise.reject(new Error('busy')));
  opened('workers');
  const failure = new Error('the port is taken');
  expect(await failureOf(lifetime.closeAfter(failure))).toBe(failure);
  expect(order).toEqual(['workers', 'index']);
  expect(logs.text()).toContain('busy');
});
