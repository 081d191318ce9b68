import { parentPort } from 'node:worker_threads';
import type { Digest } from '../oci/digest.ts';
import { IntegrityError } from '../oci/errors.ts';
import { Ingest } from '../store/ingest.ts';
import { acceptBody } from '../upstream/accept-body.ts';
import type { HopResult } from '../upstream/result.ts';
import { Wire, type WireRequest } from '../upstream/wire.ts';
import { type FillCommand, FillProgress, type FillReply, readable } from './fill-messages.ts';

/** The entry of a fill worker: downloads, hashes and writes, so that the main thread only serves. */

type OpenFill = {
  readonly ingest: Ingest;
  readonly progress: FillProgress;
  limit: number;
  sizeKnown: boolean;
  hop: AbortController | undefined;
};

if (parentPort === null) throw new Error('this file is started as a worker thread');
const port = parentPort;
const wire = new Wire();
const fills = new Map<number, OpenFill>();

port.on('message', (command: FillCommand) => {
  run(command).catch((error: NodeJS.ErrnoException) => {
    reply({ kind: 'failed', id: command.id, code: error.code, message: error.message });
  });
});

async function run(command: FillCommand): Promise<void> {
  const { id } = command;
  if (command.kind === 'open') {
    const ingest = await Ingest.open(command.path, command.digest, command.limit);
    const progress = new FillProgress(command.progress);
    const fill: OpenFill = {
      ingest,
      progress,
      limit: command.limit,
      sizeKnown: command.sizeKnown,
      hop: undefined,
    };
    fills.set(id, fill);
    publish(fill);
    reply({ kind: 'opened', id, written: ingest.written });
    return;
  }
  const fill = fills.get(id);
  if (fill === undefined) {
    // Its file could not be opened; closing it still has to be answered.
    if (command.kind === 'close') reply({ kind: 'done', id });
    return;
  }
  switch (command.kind) {
    case 'hop': {
      const result = await hop(id, fill, command.request, command.offset);
      reply({ kind: 'hopped', id, result, written: fill.ingest.written });
      return;
    }
    case 'stop-hop':
      fill.hop?.abort();
      return;
    case 'verify':
      reply({ kind: 'verified', id, found: verify(fill) });
      return;
    case 'reset':
      fill.ingest.reset();
      reply({ kind: 'done', id });
      return;
    case 'close':
      fill.hop?.abort();
      fills.delete(id);
      fill.ingest.close();
      reply({ kind: 'done', id });
      return;
    default:
      command satisfies never;
  }
}

async function hop(id: number, fill: OpenFill, request: WireRequest, offset: number): Promise<HopResult> {
  const own = new AbortController();
  fill.hop = own;
  let skip = 0;
  let total: number | undefined;
  let refused: string | undefined;
  let accepted = false;
  let overlong = false;
  try {
    const result = await wire.get(
      request,
      {
        head: (head) => {
          const verdict = acceptBody(head, offset);
          if (verdict.kind === 'refuse') {
            refused = verdict.reason;
            return 'collect';
          }
          if (!fits(fill, verdict.total)) {
            refused = `it declares ${verdict.total} bytes where ${fill.limit} are due`;
            return 'collect';
          }
          ({ skip, total } = verdict);
          accepted = true;
          if (!fill.sizeKnown && total !== undefined) learnSize(id, fill, total);
          return 'read';
        },
        chunk: (bytes) => {
          const fresh = skip === 0 ? bytes : bytes.subarray(Math.min(skip, bytes.length));
          skip -= bytes.length - fresh.length;
          if (fresh.length === 0) return;
          if (fill.ingest.written + fresh.length > fill.limit) {
            overlong = true;
            own.abort();
            return;
          }
          fill.ingest.append(fresh);
          publish(fill);
        },
      },
      own.signal,
    );
    const received = fill.ingest.written - offset;
    switch (result.kind) {
      case 'complete':
        return { kind: 'body', total, received, ending: 'complete' };
      case 'collected': {
        const { status, headers } = result.head;
        return { kind: 'answer', status, headers, body: result.body, refused };
      }
      case 'failed':
        return accepted ? { kind: 'body', total, received, ending: result } : result;
      default:
        return result satisfies never;
    }
  } catch (error) {
    if (!own.signal.aborted) throw error;
    const message = overlong ? 'it sent more bytes than the blob has' : 'the transfer was stopped';
    return { kind: 'failed', phase: 'body', reason: 'malformed', bytes: 0, message };
  } finally {
    fill.hop = undefined;
  }
}

function fits(fill: OpenFill, total: number | undefined): boolean {
  return total === undefined || (fill.sizeKnown ? total === fill.limit : total <= fill.limit);
}

function learnSize(id: number, fill: OpenFill, size: number): void {
  fill.limit = size;
  fill.sizeKnown = true;
  reply({ kind: 'size', id, size });
}

function publish({ ingest, progress, limit, sizeKnown }: OpenFill): void {
  if (!sizeKnown) return;
  const front = readable(ingest.written, limit);
  if (front > 0) progress.publish(front);
}

/** Publishes the whole blob when its digest is right; else the digest that was found. */
function verify({ ingest, progress }: OpenFill): Digest | undefined {
  try {
    ingest.verify();
    progress.publish(ingest.written);
    return undefined;
  } catch (error) {
    if (error instanceof IntegrityError) return error.found as Digest;
    throw error;
  }
}

function reply(message: FillReply): void {
  port.postMessage(message);
}
