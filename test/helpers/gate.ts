import { patience } from './patience.ts';
/** A door that is shut until somebody opens it; opening twice is harmless. */
export type Gate = { readonly opened: Promise<void>; readonly isOpen: boolean; open(): void };

/** Makes a shut {@link Gate}: the way tests hold a server at an exact point without sleeping. */
export function makeGate(): Gate {
  const { promise, resolve } = Promise.withResolvers<void>();
  let isOpen = false;
  return {
    opened: promise,
    get isOpen() {
      return isOpen;
    },
    open() {
      isOpen = true;
      resolve();
    },
  };
}

/** Settles with `promise`, or rejects after `ms` with `what` in the message, so that a hung test names its wait. */
export async function within<T>(
  promise: Promise<T>,
  what: string | (() => string),
  ms = patience,
): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const deadline = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => {
      reject(new Error(`not within ${ms} ms: ${typeof what === 'string' ? what : what()}`));
    }, ms);
  });
  try {
    return await Promise.race([promise, deadline]);
  } finally {
    clearTimeout(timer);
  }
}
