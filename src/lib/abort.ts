/** An abort reason for a deadline that passed; `code` is `TIMEOUT`. */
export class TimeoutError extends Error {
  readonly code = 'TIMEOUT';
}

/** A signal that never aborts, for callers that truly have nothing to cancel with. */
export const neverAborted: AbortSignal = new AbortController().signal;

/** Settles with `promise`, or rejects with the signal's reason as soon as it aborts; the work itself goes on. */
export function abandonOnAbort<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  if (signal.aborted) return Promise.reject(signal.reason);
  return new Promise<T>((resolve, reject) => {
    const onAbort = () => reject(signal.reason);
    signal.addEventListener('abort', onAbort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort));
  });
}

/** Waits `ms` milliseconds; rejects with the signal's reason when it aborts first. */
export function delay(ms: number, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.reject(signal.reason);
  return new Promise<void>((resolve, reject) => {
    const onAbort = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = setTimeout(() => {
      signal.removeEventListener('abort', onAbort);
      resolve();
    }, ms);
    signal.addEventListener('abort', onAbort, { once: true });
  });
}

/** Settles with `promise`, or with `instead()` when that takes longer than `ms`; the work goes on either way. */
export async function orAfter<T>(
  promise: Promise<T>,
  ms: number,
  signal: AbortSignal,
  instead: () => T,
): Promise<T> {
  const timer = new AbortController();
  try {
    const late = delay(ms, timer.signal).then(instead);
    late.catch(() => undefined);
    return await abandonOnAbort(Promise.race([promise, late]), signal);
  } finally {
    timer.abort();
  }
}
