import { Worker } from 'node:worker_threads';
import type { Interval } from '../lib/range-set.ts';
import type { Digest } from '../oci/digest.ts';
import type { HopResult } from '../upstream/result.ts';
import type { WireRequest } from '../upstream/wire.ts';
import type { FillCommand, FillReply, Unaddressed } from './fill-messages.ts';
import type { FillProgress } from './fill-progress.ts';

/** The disk or the worker failed; `code` is the system's (`ENOSPC`, `EIO`, ...) when there is one. */
export class FillStorageError extends Error {
  readonly code: string;

  constructor(message: string, code: string | undefined) {
    super(message);
    this.name = 'FillStorageError';
    this.code = code ?? 'FILL';
  }
}

/** One GET of a lane. */
export type LaneHop = {
  readonly slot: number;
  readonly request: WireRequest;
  /** The first byte asked for. */
  readonly start: number;
  /** Whether an answer that ignores the range is read and dropped up to `start`. */
  readonly maySkip: boolean;
  readonly budgets: readonly SharedArrayBuffer[];
};

/** Called when a body begins: with the blob's size where that is declared, and the answer's headers. */
export type LaneBegun = (total: number | undefined, headers: Readonly<Record<string, string>>) => void;

/** One fill's place in a worker. */
export type FillSlot = {
  /** Opens the fill's file; resolves to what an earlier run left in it. */
  open(): Promise<readonly Interval[]>;
  /** Runs one GET into the file; `begun` is called when its body begins. */
  hop(hop: LaneHop, begun: LaneBegun, signal: AbortSignal): Promise<HopResult>;
  /** The share of the time since the last call in which its thread had work to do, 0 to 1. */
  strain(): number;
  /** Compares the digest; `undefined` when right, else the digest found. */
  verify(): Promise<Digest | undefined>;
  /** The digests of stretches of the file. */
  digests(stretches: readonly Interval[]): Promise<readonly string[]>;
  /** Empties the file. */
  reset(): Promise<void>;
  /** Closes the file, which stays with its map, and gives the place back. */
  close(): Promise<void>;
};

type Waiting = {
  resolve(reply: FillReply): void;
  reject(error: Error): void;
  readonly begun: LaneBegun | undefined;
};
type Crew = { readonly worker: Worker; readonly fills: Set<number>; readonly calls: Map<number, Waiting> };

/** The threads that fills run on. A thread that dies fails its fills and is replaced. */
export class FillWorkers {
  readonly #crews: Crew[];
  #lastId = 0;
  #closed = false;

  /** @param options.threads at least 1 */
  constructor(options: { threads: number }) {
    this.#crews = Array.from({ length: options.threads }, () => this.#start());
  }

  /** A place for one fill on the thread that has the fewest. */
  slot(fill: {
    path: string;
    digest: Digest;
    limit: number;
    sizeKnown: boolean;
    progress: FillProgress;
  }): FillSlot {
    const id = ++this.#lastId;
    const crew = this.#crews.reduce((least, next) => (next.fills.size < least.fills.size ? next : least));
    crew.fills.add(id);
    const call = async <K extends FillReply['kind']>(
      command: Unaddressed<FillCommand>,
      kind: K,
      begun?: LaneBegun,
    ) => {
      const reply = await this.#call(crew, id, command, begun);
      if (reply.kind !== kind) throw new Error(`a fill worker answered ${reply.kind} where ${kind} was due`);
      return reply as Extract<FillReply, { kind: K }>;
    };
    const { path, digest, limit, sizeKnown } = fill;
    let measured = crew.worker.performance.eventLoopUtilization();
    return {
      strain: () => {
        const { utilization } = crew.worker.performance.eventLoopUtilization(measured);
        measured = crew.worker.performance.eventLoopUtilization();
        return utilization;
      },
      open: async () => {
        const progress = fill.progress.shared;
        return (await call({ kind: 'open', path, digest, limit, sizeKnown, progress }, 'opened')).arrived;
      },
      hop: async (hop, begun, signal) => {
        signal.throwIfAborted();
        const stop = () => this.#post(crew, id, ++this.#lastId, { kind: 'stop-hop', slot: hop.slot });
        signal.addEventListener('abort', stop, { once: true });
        try {
          const { result } = await call({ kind: 'hop', ...hop }, 'hopped', begun);
          signal.throwIfAborted();
          return result;
        } finally {
          signal.removeEventListener('abort', stop);
        }
      },
      verify: async () => (await call({ kind: 'verify' }, 'verified')).found,
      digests: async (stretches) => (await call({ kind: 'digests', stretches }, 'digests')).digests,
      reset: async () => {
        await call({ kind: 'reset' }, 'done');
      },
      close: async () => {
        try {
          await call({ kind: 'close' }, 'done');
        } finally {
          crew.fills.delete(id);
        }
      },
    };
  }

  /** Stops the threads; what they were filling stays on disk as far as it came. */
  async close(): Promise<void> {
    this.#closed = true;
    await Promise.all(this.#crews.map(({ worker }) => worker.terminate()));
  }

  #call(
    crew: Crew,
    fill: number,
    command: Unaddressed<FillCommand>,
    begun: LaneBegun | undefined,
  ): Promise<FillReply> {
    return new Promise((resolve, reject) => {
      if (this.#closed || !crew.fills.has(fill)) {
        reject(new FillStorageError('the fill worker ended', undefined));
        return;
      }
      const call = ++this.#lastId;
      crew.calls.set(call, { resolve, reject, begun });
      this.#post(crew, fill, call, command);
    });
  }

  #post(crew: Crew, fill: number, call: number, command: Unaddressed<FillCommand>): void {
    crew.worker.postMessage({ ...command, fill, call });
  }

  #start(): Crew {
    const extension = import.meta.url.endsWith('.ts') ? 'ts' : 'js';
    const worker = new Worker(new URL(`./fill-worker.${extension}`, import.meta.url), {
      name: 'fill',
      resourceLimits: { maxYoungGenerationSizeMb: 4 },
    });
    const crew: Crew = { worker, fills: new Set(), calls: new Map() };
    worker.on('message', (reply: FillReply) => {
      const waiting = crew.calls.get(reply.call);
      if (reply.kind === 'begun') {
        waiting?.begun?.(reply.total, reply.headers);
        return;
      }
      crew.calls.delete(reply.call);
      if (reply.kind === 'failed') waiting?.reject(new FillStorageError(reply.message, reply.code));
      else waiting?.resolve(reply);
    });
    worker.on('error', (error) => this.#replace(crew, error));
    worker.on('exit', () => this.#replace(crew, undefined));
    return crew;
  }

  #replace(crew: Crew, error: unknown): void {
    const calls = [...crew.calls.values()];
    crew.calls.clear();
    crew.fills.clear();
    for (const { reject } of calls) {
      reject(new FillStorageError(`the fill worker ended: ${error ?? 'stopped'}`, undefined));
    }
    const index = this.#crews.indexOf(crew);
    if (!this.#closed && index >= 0) this.#crews[index] = this.#start();
  }
}
