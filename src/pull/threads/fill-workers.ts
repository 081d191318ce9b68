import { MessageChannel, type MessagePort, Worker } from 'node:worker_threads';
import type { Interval } from '../../lib/range-set.ts';
import { siblingScript } from '../../lib/sibling-script.ts';
import { type Digest, digestAlgorithm } from '../../oci/digest.ts';
import type { FetchResult } from '../../upstream/result.ts';
import type { WireRequest } from '../../upstream/wire/messages.ts';
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
export type LaneRequest = {
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
  fetch(request: LaneRequest, begun: LaneBegun, signal: AbortSignal): Promise<FetchResult>;
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
type Crew = {
  readonly worker: Worker;
  readonly fills: Set<number>;
  /** Fills of other threads whose files it hashes. */
  readonly hashes: Set<number>;
  readonly calls: Map<number, Waiting>;
};

/** Bytes from which on a blob is hashed by another thread than the one that receives and writes it. */
const hashedApartFrom = 8 * 1024 * 1024;

/** The threads that fills run on. A thread that dies fails its fills and is replaced. */
export class FillWorkers {
  readonly #crews: Crew[];
  readonly #hashedApartFrom: number;
  #lastId = 0;
  #closed = false;

  /**
   * @param options.threads at least 1
   * @param options.hashedApartFrom bytes from which on a blob is hashed by another thread than its own (8 MiB)
   */
  constructor(options: { threads: number; hashedApartFrom?: number }) {
    this.#hashedApartFrom = options.hashedApartFrom ?? hashedApartFrom;
    this.#crews = Array.from({ length: options.threads }, () => this.#start());
  }

  /** A place for one fill on the thread that has the least to do; that with the least of the others may hash it. */
  slot(fill: {
    path: string;
    digest: Digest;
    limit: number;
    sizeKnown: boolean;
    progress: FillProgress;
  }): FillSlot {
    const id = ++this.#lastId;
    const crew = leastBusy(this.#crews);
    crew.fills.add(id);
    let hasher: Crew | undefined;
    const call = async <K extends FillReply['kind']>(
      command: Unaddressed<FillCommand>,
      kind: K,
      begun?: LaneBegun,
      ports: readonly MessagePort[] = [],
    ) => {
      const reply = await this.#call(crew, id, command, begun, ports);
      if (reply.kind !== kind) throw new Error(`a fill worker answered ${reply.kind} where ${kind} was due`);
      return reply as Extract<FillReply, { kind: K }>;
    };
    const { path, digest, limit, sizeKnown } = fill;
    const meters = [meterOf(crew)];
    return {
      strain: () => Math.max(...meters.map((meter) => meter())),
      open: async () => {
        const progress = fill.progress.shared;
        const others = this.#crews.filter((other) => other !== crew);
        const command = { kind: 'open', path, digest, limit, sizeKnown, progress } as const;
        if (!sizeKnown || limit < this.#hashedApartFrom || others.length === 0) {
          return (await call({ ...command, hasher: undefined }, 'opened')).arrived;
        }
        hasher = leastBusy(others);
        hasher.hashes.add(id);
        meters.push(meterOf(hasher));
        const { port1, port2: port } = new MessageChannel();
        const algorithm = digestAlgorithm(digest);
        this.#post(hasher, id, ++this.#lastId, { kind: 'hash', path, algorithm, port }, [port]);
        return (await call({ ...command, hasher: port1 }, 'opened', undefined, [port1])).arrived;
      },
      fetch: async (request, begun, signal) => {
        signal.throwIfAborted();
        const stop = () => this.#post(crew, id, ++this.#lastId, { kind: 'stop-fetch', slot: request.slot });
        signal.addEventListener('abort', stop, { once: true });
        try {
          const { result } = await call({ kind: 'fetch', ...request }, 'fetched', begun);
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
          hasher?.hashes.delete(id);
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
    ports: readonly MessagePort[],
  ): Promise<FillReply> {
    return new Promise((resolve, reject) => {
      if (this.#closed || !crew.fills.has(fill)) {
        for (const port of ports) port.close();
        reject(new FillStorageError('the fill worker ended', undefined));
        return;
      }
      const call = ++this.#lastId;
      crew.calls.set(call, { resolve, reject, begun });
      this.#post(crew, fill, call, command, ports);
    });
  }

  #post(
    crew: Crew,
    fill: number,
    call: number,
    command: Unaddressed<FillCommand>,
    ports: readonly MessagePort[] = [],
  ): void {
    crew.worker.postMessage({ ...command, fill, call }, ports);
  }

  #start(): Crew {
    const worker = new Worker(siblingScript(import.meta.url, 'fill-worker'), {
      name: 'fill',
      resourceLimits: { maxYoungGenerationSizeMb: 4 },
    });
    const crew: Crew = { worker, fills: new Set(), hashes: new Set(), calls: new Map() };
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
    crew.hashes.clear();
    for (const { reject } of calls) {
      reject(new FillStorageError(`the fill worker ended: ${error ?? 'stopped'}`, undefined));
    }
    const index = this.#crews.indexOf(crew);
    if (!this.#closed && index >= 0) this.#crews[index] = this.#start();
  }
}

function leastBusy(crews: readonly Crew[]): Crew {
  const load = ({ fills, hashes }: Crew) => fills.size + hashes.size;
  return crews.reduce((least, next) => (load(next) < load(least) ? next : least));
}

/** Says in which share of the time since it was last asked a thread had work to do. */
function meterOf({ worker }: Crew): () => number {
  let measured = worker.performance.eventLoopUtilization();
  return () => {
    const { utilization } = worker.performance.eventLoopUtilization(measured);
    measured = worker.performance.eventLoopUtilization();
    return utilization;
  };
}
