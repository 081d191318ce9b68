import { Worker } from 'node:worker_threads';
import type { Digest } from '../oci/digest.ts';
import type { HopResult } from '../upstream/result.ts';
import type { WireRequest } from '../upstream/wire.ts';
import type { FillCommand, FillProgress, FillReply } from './fill-messages.ts';

/** The disk or the worker failed; `code` is the system's (`ENOSPC`, `EIO`, ...) when there is one. */
export class FillStorageError extends Error {
  readonly code: string;

  constructor(message: string, code: string | undefined) {
    super(message);
    this.name = 'FillStorageError';
    this.code = code ?? 'FILL';
  }
}

/** One fill's place in a worker; one request at a time. */
export type FillSlot = {
  /** Opens the fill's file; resolves to the bytes that an earlier run left in it. */
  open(): Promise<number>;
  /** Runs one GET into the file; `written` is what the file holds afterwards. */
  hop(
    request: WireRequest,
    offset: number,
    signal: AbortSignal,
  ): Promise<{ result: HopResult; written: number }>;
  /** Compares the digest; `undefined` when right, else the digest found. */
  verify(): Promise<Digest | undefined>;
  /** Empties the file. */
  reset(): Promise<void>;
  /** Closes the file and gives the place back. */
  close(): Promise<void>;
};

type Waiting = { resolve(reply: FillReply): void; reject(error: Error): void };
type Place = { readonly waiting: Waiting[]; readonly onSize: (size: number) => void };
type Crew = { readonly worker: Worker; readonly places: Map<number, Place> };

/** The threads that fills run on. A thread that dies fails its fills and is replaced. */
export class FillWorkers {
  readonly #crews: Crew[];
  #nextId = 1;
  #closed = false;

  /** @param options.threads at least 1 */
  constructor(options: { threads: number }) {
    this.#crews = Array.from({ length: options.threads }, () => this.#start());
  }

  /** A place for one fill on the thread that has the fewest. */
  slot(
    fill: { path: string; digest: Digest; limit: number; sizeKnown: boolean; progress: FillProgress },
    onSize: (size: number) => void,
  ): FillSlot {
    const id = this.#nextId++;
    const crew = this.#crews.reduce((least, next) => (next.places.size < least.places.size ? next : least));
    crew.places.set(id, { waiting: [], onSize });
    const call = async <K extends FillReply['kind']>(command: FillCommand, kind: K) => {
      const reply = await this.#call(crew, command);
      if (reply.kind !== kind) throw new Error(`a fill worker answered ${reply.kind} where ${kind} was due`);
      return reply as Extract<FillReply, { kind: K }>;
    };
    const { path, digest, limit, sizeKnown, progress } = fill;
    return {
      open: async () => {
        const shared = progress.shared;
        return (await call({ kind: 'open', id, path, digest, limit, sizeKnown, progress: shared }, 'opened'))
          .written;
      },
      hop: async (request, offset, signal) => {
        const stop = () => crew.worker.postMessage({ kind: 'stop-hop', id } satisfies FillCommand);
        signal.throwIfAborted();
        signal.addEventListener('abort', stop, { once: true });
        try {
          const { result, written } = await call({ kind: 'hop', id, request, offset }, 'hopped');
          signal.throwIfAborted();
          return { result, written };
        } finally {
          signal.removeEventListener('abort', stop);
        }
      },
      verify: async () => (await call({ kind: 'verify', id }, 'verified')).found,
      reset: async () => {
        await call({ kind: 'reset', id }, 'done');
      },
      close: async () => {
        try {
          await call({ kind: 'close', id }, 'done');
        } finally {
          crew.places.delete(id);
        }
      },
    };
  }

  /** Stops the threads; what they were filling stays on disk as far as it came. */
  async close(): Promise<void> {
    this.#closed = true;
    await Promise.all(this.#crews.map(({ worker }) => worker.terminate()));
  }

  #call(crew: Crew, command: FillCommand): Promise<FillReply> {
    return new Promise((resolve, reject) => {
      const place = crew.places.get(command.id);
      if (place === undefined) {
        reject(new FillStorageError('the fill worker ended', undefined));
        return;
      }
      place.waiting.push({ resolve, reject });
      crew.worker.postMessage(command);
    });
  }

  #start(): Crew {
    const extension = import.meta.url.endsWith('.ts') ? 'ts' : 'js';
    const worker = new Worker(new URL(`./fill-worker.${extension}`, import.meta.url), {
      name: 'fill',
      resourceLimits: { maxYoungGenerationSizeMb: 4 },
    });
    const crew: Crew = { worker, places: new Map() };
    worker.on('message', (reply: FillReply) => {
      const place = crew.places.get(reply.id);
      if (reply.kind === 'size') place?.onSize(reply.size);
      else if (reply.kind === 'failed')
        place?.waiting.shift()?.reject(new FillStorageError(reply.message, reply.code));
      else place?.waiting.shift()?.resolve(reply);
    });
    worker.on('error', (error) => this.#replace(crew, error));
    worker.on('exit', () => this.#replace(crew, undefined));
    return crew;
  }

  #replace(crew: Crew, error: unknown): void {
    const places = [...crew.places.values()];
    crew.places.clear();
    for (const { waiting } of places) {
      for (const { reject } of waiting)
        reject(new FillStorageError(`the fill worker ended: ${error ?? 'stopped'}`, undefined));
    }
    const index = this.#crews.indexOf(crew);
    if (!this.#closed && index >= 0) this.#crews[index] = this.#start();
  }
}
