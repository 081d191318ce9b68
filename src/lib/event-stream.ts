/** Events that wait to be taken before those that may be missed are. */
const mostWaiting = 1_000;

/**
 * Runs `work` and gives what it emits, as it comes, to whoever iterates; its failure is thrown after the last event.
 * When the iteration is left or `signal` aborts, the signal that `work` has aborts too, and the iteration ends once
 * `work` has: without a failure, since whoever aborted knows.
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
