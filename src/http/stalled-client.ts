import type { ServerResponse } from 'node:http';
import { formatDuration } from '../lib/units.ts';

/**
 * Cuts a client off that takes no byte of an answer for `patience` milliseconds. Waiting for the content is no fault of
 * the client's: only bytes that the connection cannot get rid of count. It may take twice as long, since progress is
 * looked for once in each such time. The reason is in `outgoing.errored` then.
 */
export function cutWhenStalled(outgoing: ServerResponse, patience: number): void {
  outgoing.setTimeout(patience, () => {
    if (outgoing.writableLength === 0) return;
    outgoing.destroy(new Error(`the client took no bytes for ${formatDuration(patience)}`));
  });
}
