/** Events held for a slow reader. Beyond this number, events that may be missed are dropped. */
const mostWaiting = 1_000;

/**
 * Runs `work` and yields what it emits, as it comes. A failure of `work` is thrown after the last event.
 * When the caller leaves the iteration, or `signal` aborts, the signal of `work` aborts too. The iteration then ends
 * once `work` has, and throws nothing.
 * @param mayMiss says which events may be dropped for a reader that is slow
 */
export async function* eventStream<T>(
  work: (emit: (event: T) => void, signal: AbortSignal) => Promise<void>,
  signal: AbortSignal,
  mayMiss: (event: T) => boolean = () => false,
): AsyncGenerator<T, void, undefined> {
  const waiting: T[] = [];
  const left = new AbortController();
  let wake = Promise.withResolvers<void>();
  let ended = false;
  const emit = (event: T) => {
    if (waiting.length >= mostWaiting && mayMiss(event)) return;
    waiting.push(event);
    wake.resolve();
  };
  const done = work(emit, AbortSignal.any([signal, left.signal])).finally(() => {
    ended = true;
    wake.resolve();
  });
  // Whoever leaves early is not told.
  done.catch(() => undefined);
  try {
    for (;;) {
      for (let event = waiting.shift(); event !== undefined; event = waiting.shift()) yield event;
      if (ended) break;
      await wake.promise;
      wake = Promise.withResolvers<void>();
    }
    await done.catch((error: unknown) => {
      if (!signal.aborted) throw error;
    });
  } finally {
    left.abort(new Error('nobody reads the events any more'));
    await done.catch(() => undefined);
  }
}
