import { MessageChannel, type MessagePort, Worker } from 'node:worker_threads';
import { abandonOnAbort } from '../../lib/abort.ts';
import type { Clock } from '../../lib/clock.ts';
import type { Log } from '../../lib/log.ts';
import type { Interval } from '../../lib/range-set.ts';
import { RareLog } from '../../lib/rare-log.ts';
import { siblingScript } from '../../lib/sibling-script.ts';
import { type Digest, digestAlgorithm } from '../../oci/digest.ts';
import type { FetchResult } from '../../upstream/result.ts';
import { FillWorkerError } from './fill-errors.ts';
import type { FillCommand, FillReply, LaneBegun, LaneRequest, Unaddressed } from './fill-messages.ts';
import type { FillProgress } from './fill-progress.ts';
import { FillThread } from './fill-thread.ts';

/** A fill as a worker has to know it. */
export type FillFile = {
  readonly path: string;
  readonly digest: Digest;
  /** Bytes: the blob's size when known, else the most that is accepted. */
  readonly limit: number;
  readonly sizeKnown: boolean;
  readonly progress: FillProgress;
};

/** One fill's place in a worker. Each method rejects with a `FillWorkerError` once that worker has ended. */
export type FillSlot = {
  /** Opens the fill's file; resolves to what an earlier run left in it. */
  open(): Promise<readonly Interval[]>;
  /** Runs one GET into the file; `begun` is called when its body begins. */
  fetch(request: LaneRequest, begun: LaneBegun, signal: AbortSignal): Promise<FetchResult>;
  /** The share of the time since the last call in which its thread had work to do, 0 to 1. */
  utilization(): number;
  /** Compares the digest; `undefined` when right, else the digest found. */
  verify(): Promise<Digest | undefined>;
  /** The digests of ranges of the file. */
  digests(ranges: readonly Interval[]): Promise<readonly string[]>;
  /** Empties the file. */
  reset(): Promise<void>;
  /** Closes the file, which stays with its map, and gives the place back. */
  close(): Promise<void>;
};

/** Bytes from which on a blob is hashed by another thread than the one that receives and writes it. */
const hashedApartFrom = 8 * 1024 * 1024;

/** Milliseconds between two lines in the log about workers that end for one cause. */
const logEvery = 60_000;

/** The threads that fills run on. */
export class FillWorkers {
  readonly #threads: readonly FillThread[];
  readonly #hashedApartFrom: number;
  #lastId = 0;
  #closed = false;

  /**
   * @param deps.start starts a worker; one of `fill-worker.ts` unless given
   * @param options.threads at least 1
   * @param options.hashedApartFrom bytes from which on a blob is hashed by another thread than its own (8 MiB)
   */
  constructor(
    deps: { log: Log; clock: Clock; start?: () => Worker },
    options: { threads: number; hashedApartFrom?: number },
  ) {
    this.#hashedApartFrom = options.hashedApartFrom ?? hashedApartFrom;
    const log = new RareLog(deps, { period: logEvery });
    const start = deps.start ?? startWorker;
    this.#threads = Array.from({ length: options.threads }, () => new FillThread({ start, log }));
  }

  /** Why nothing can be downloaded now: on each thread several workers in a row have ended soon. `undefined` otherwise. */
  get failing(): string | undefined {
    return this.#threads.every(({ failing }) => failing)
      ? 'nothing can be downloaded: the worker threads keep ending, the log says why'
      : undefined;
  }

  /**
   * A place for one fill on the thread that has the least to do. Another thread may hash its file. Where no worker runs,
   * this waits for the next one.
   * @throws FillWorkerError when workers keep ending, or none will be started any more
   */
  async slot(fill: FillFile, signal: AbortSignal): Promise<FillSlot> {
    signal.throwIfAborted();
    let running = this.#running();
    while (running.length === 0) {
      const failing = this.#closed ? 'the server is stopping' : this.failing;
      if (failing !== undefined) throw new FillWorkerError(failing);
      await abandonOnAbort(Promise.race(this.#threads.map(({ changed }) => changed)), signal);
      running = this.#running();
    }
    return this.#slotOn(leastBusy(running), fill);
  }

  /** Stops the threads; what they were filling stays on disk as far as it came. */
  async close(): Promise<void> {
    this.#closed = true;
    await Promise.all(this.#threads.map((thread) => thread.close()));
  }

  #slotOn(thread: FillThread, fill: FillFile): FillSlot {
    const id = ++this.#lastId;
    thread.fills.add(id);
    const meters = [meterOf(thread)];
    let hasher: FillThread | undefined;
    const call = async <K extends FillReply['kind']>(
      command: Unaddressed<FillCommand>,
      kind: K,
      begun?: LaneBegun,
      ports: readonly MessagePort[] = [],
    ) => {
      const reply = await thread.call({ fill: id, call: ++this.#lastId }, command, begun, ports);
      if (reply.kind !== kind) throw new Error(`a fill worker answered ${reply.kind} where ${kind} was due`);
      return reply as Extract<FillReply, { kind: K }>;
    };
    return {
      utilization: () => Math.max(...meters.map((meter) => meter())),
      open: async () => {
        const { path, digest, limit, sizeKnown } = fill;
        const command = {
          kind: 'open',
          path,
          digest,
          limit,
          sizeKnown,
          progress: fill.progress.shared,
        } as const;
        const others = this.#running().filter((other) => other !== thread);
        if (!sizeKnown || limit < this.#hashedApartFrom || others.length === 0) {
          return (await call({ ...command, hasher: undefined }, 'opened')).arrived;
        }
        hasher = leastBusy(others);
        hasher.hashes.add(id);
        meters.push(meterOf(hasher));
        const { port1, port2: port } = new MessageChannel();
        const algorithm = digestAlgorithm(digest);
        hasher.post({ fill: id, call: ++this.#lastId }, { kind: 'hash', path, algorithm, port }, [port]);
        return (await call({ ...command, hasher: port1 }, 'opened', undefined, [port1])).arrived;
      },
      fetch: async (request, begun, signal) => {
        signal.throwIfAborted();
        const { slot } = request;
        const stop = () => thread.post({ fill: id, call: ++this.#lastId }, { kind: 'stop-fetch', slot });
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
      digests: async (ranges) => (await call({ kind: 'digests', ranges }, 'digests')).digests,
      reset: async () => {
        await call({ kind: 'reset' }, 'done');
      },
      close: async () => {
        try {
          await call({ kind: 'close' }, 'done');
          thread.proven();
        } finally {
          thread.fills.delete(id);
          hasher?.hashes.delete(id);
        }
      },
    };
  }

  #running(): readonly FillThread[] {
    return this.#threads.filter(({ worker }) => worker !== undefined);
  }
}

function startWorker(): Worker {
  return new Worker(siblingScript(import.meta.url, 'fill-worker'), {
    name: 'fill',
    resourceLimits: { maxYoungGenerationSizeMb: 4 },
  });
}

function leastBusy(threads: readonly FillThread[]): FillThread {
  return threads.reduce((least, next) => (next.load < least.load ? next : least));
}

/** Says in which share of the time since it was last asked the worker of a thread had work to do. */
function meterOf({ worker }: FillThread): () => number {
  let measured = worker?.performance.eventLoopUtilization();
  return () => {
    if (worker === undefined) return 0;
    const { utilization } = worker.performance.eventLoopUtilization(measured);
    measured = worker.performance.eventLoopUtilization();
    return utilization;
  };
}
