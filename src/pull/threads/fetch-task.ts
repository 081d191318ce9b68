import { setTimeout as pause } from 'node:timers/promises';
import type { Digest } from '../../oci/digest.ts';
import type { Ingest } from '../../store/disk/ingest.ts';
import type { FetchResult } from '../../upstream/result.ts';
import { acceptBody, rangeless } from '../../upstream/wire/accept-body.ts';
import { Bandwidth, reserveAll } from '../../upstream/wire/bandwidth.ts';
import type { BodySink, WireResponseHead } from '../../upstream/wire/messages.ts';
import type { Wire } from '../../upstream/wire/wire.ts';
import type { FillCommand, FillReply, Unaddressed } from './fill-messages.ts';
import type { FillProgress } from './fill-progress.ts';

/** A fill that is open in a worker. */
export type OpenFill = {
  readonly ingest: Ingest;
  /** The digest that its bytes should have. */
  readonly digest: Digest;
  readonly progress: FillProgress;
  /** Bytes: the blob's size once known, else the most that is accepted. */
  limit: number;
  sizeKnown: boolean;
  /** The requests under way, by lane. */
  readonly fetches: Map<number, AbortController>;
};

type Fetch = Extract<FillCommand, { kind: 'fetch' }>;

/** The longest that a connection sleeps that bandwidth limits hold back, in milliseconds; they may be lifted meanwhile. */
const longestNap = 100;

/** Runs one GET and writes what it brings into the fill, from the lane's start to its stop. */
export async function runFetch(
  wire: Wire,
  fill: OpenFill,
  fetch: Fetch,
  reply: (message: Unaddressed<FillReply>) => void,
): Promise<FetchResult> {
  const own = new AbortController();
  fill.fetches.set(fetch.slot, own);
  const body = new FetchBody(fill, fetch, () => own.abort(), reply);
  try {
    const result = await wire.get(fetch.request, body, own.signal);
    const received = body.received;
    switch (result.kind) {
      case 'complete':
        return { kind: 'body', total: body.total, received, ending: 'complete' };
      case 'collected': {
        const { status, headers } = result.head;
        return { kind: 'answer', status, headers, body: result.body, refused: body.refused };
      }
      case 'failed':
        return body.accepted ? { kind: 'body', total: body.total, received, ending: result } : result;
      default:
        return result satisfies never;
    }
  } catch (error) {
    if (!own.signal.aborted) throw error;
    if (body.enough) return { kind: 'body', total: body.total, received: body.received, ending: 'complete' };
    const message = body.overlong ? 'it sent more bytes than the blob has' : 'the transfer was stopped';
    return { kind: 'failed', phase: 'body', reason: 'malformed', bytes: body.received, message };
  } finally {
    fill.fetches.delete(fetch.slot);
  }
}

/** Judges an answer, and puts its bytes where they belong. */
class FetchBody implements BodySink {
  accepted = false;
  refused: string | undefined;
  total: number | undefined;
  /** The lane reached its stop before the answer ended. */
  enough = false;
  overlong = false;
  readonly #fill: OpenFill;
  readonly #fetch: Fetch;
  readonly #abort: () => void;
  readonly #reply: (message: Unaddressed<FillReply>) => void;
  readonly #budgets: readonly Bandwidth[];
  #skip = 0;
  #position: number;

  constructor(
    fill: OpenFill,
    fetch: Fetch,
    abort: () => void,
    reply: (message: Unaddressed<FillReply>) => void,
  ) {
    this.#fill = fill;
    this.#fetch = fetch;
    this.#abort = abort;
    this.#reply = reply;
    this.#position = fetch.start;
    this.#budgets = fetch.budgets.map((shared) => Bandwidth.attach(shared));
  }

  get received(): number {
    return this.#position - this.#fetch.start;
  }

  head(head: WireResponseHead): 'read' | 'collect' {
    const verdict = acceptBody(head, this.#fetch.start);
    if (verdict.kind === 'refuse') return this.#refuse(verdict.reason);
    if (verdict.skip > 0 && !this.#fetch.maySkip) return this.#refuse(rangeless);
    const { limit, sizeKnown } = this.#fill;
    const { total } = verdict;
    if (total !== undefined && (sizeKnown ? total !== limit : total > limit)) {
      return this.#refuse(`it declares ${total} bytes where ${limit} are due`);
    }
    this.#skip = verdict.skip;
    this.total = total;
    this.accepted = true;
    if (!sizeKnown && total !== undefined) {
      this.#fill.limit = total;
      this.#fill.sizeKnown = true;
    }
    this.#reply({ kind: 'begun', total, headers: head.headers });
    return 'read';
  }

  chunk(bytes: Buffer): void | Promise<void> {
    const fresh = this.#skip === 0 ? bytes : bytes.subarray(Math.min(this.#skip, bytes.length));
    this.#skip -= bytes.length - fresh.length;
    const { ingest, progress, limit } = this.#fill;
    const { slot } = this.#fetch;
    const stop = progress.stop(slot);
    const wanted = fresh.subarray(0, Math.max(0, Math.min(stop, limit) - this.#position));
    if (wanted.length > 0) {
      ingest.write(this.#position, wanted);
      this.#position += wanted.length;
      progress.advance(slot, this.#position);
    }
    if (wanted.length < fresh.length) {
      this.overlong = stop >= limit;
      this.enough = !this.overlong;
      this.#abort();
      return;
    }
    return this.#hold(bytes.length);
  }

  /** Waits as long as the bandwidth limits demand. */
  #hold(bytes: number): void | Promise<void> {
    if (this.#budgets.length === 0) return;
    const left = reserveAll(this.#budgets, bytes);
    if (left(0) > 0) return waitOut(left);
  }

  #refuse(reason: string): 'collect' {
    this.refused = reason;
    return 'collect';
  }
}

async function waitOut(left: (elapsed: number) => number): Promise<void> {
  const started = performance.now();
  for (let ms = left(0); ms > 0; ms = left(performance.now() - started)) {
    // The limits may be lifted, and the lane stopped, while it waits.
    await pause(Math.min(ms, longestNap), undefined, { ref: false });
  }
}
