import type { MessagePort, Worker } from 'node:worker_threads';
import type { RareLog } from '../../lib/rare-log.ts';
import { FillStorageError, FillWorkerError } from './fill-errors.ts';
import type { FillCommand, FillReply, LaneBegun, Unaddressed } from './fill-messages.ts';

/** Milliseconds before a worker is started again; doubles with each that ends soon, up to the longest. */
const firstPause = 250;
const longestPause = 30_000;

/** Milliseconds after which a worker has not ended soon. */
const soon = 60_000;

/** Workers in a row that ended soon after which it is said that they fail. */
const several = 3;

type State =
  | { readonly kind: 'running'; readonly worker: Worker; readonly since: number }
  | { readonly kind: 'down'; readonly timer: NodeJS.Timeout }
  | { readonly kind: 'closed' };

type Waiting = {
  resolve(reply: FillReply): void;
  reject(error: Error): void;
  readonly begun: LaneBegun | undefined;
};

/**
 * One thread that fills run on: a worker, and the next one when that has ended. Whatever ran on a worker that ends is
 * rejected with a {@link FillWorkerError}. The next one is started after a pause, which grows while workers end soon.
 */
export class FillThread {
  /** Fills whose files it writes. */
  readonly fills = new Set<number>();
  /** Fills of other threads whose files it hashes. */
  readonly hashes = new Set<number>();
  readonly #start: () => Worker;
  readonly #log: RareLog;
  readonly #calls = new Map<number, Waiting>();
  #state: State;
  #changed = Promise.withResolvers<void>();
  #endedSoon = 0;

  /** @param deps.start starts a worker */
  constructor(deps: { start: () => Worker; log: RareLog }) {
    this.#start = deps.start;
    this.#log = deps.log;
    this.#state = this.#begin();
  }

  /** The worker; `undefined` while there is none. */
  get worker(): Worker | undefined {
    return this.#state.kind === 'running' ? this.#state.worker : undefined;
  }

  /** Whether several workers in a row have ended soon. */
  get failing(): boolean {
    const { kind } = this.#state;
    const settled = this.#state.kind === 'running' && performance.now() - this.#state.since >= soon;
    return kind !== 'closed' && this.#endedSoon >= several && !settled;
  }

  /** How much it has to do. */
  get load(): number {
    return this.fills.size + this.hashes.size;
  }

  /** Resolves when a worker starts or ends next. */
  get changed(): Promise<void> {
    return this.#changed.promise;
  }

  /** Asks the worker for something on behalf of a fill that runs on it. */
  call(
    address: { readonly fill: number; readonly call: number },
    command: Unaddressed<FillCommand>,
    begun: LaneBegun | undefined,
    ports: readonly MessagePort[],
  ): Promise<FillReply> {
    return new Promise((resolve, reject) => {
      if (!this.fills.has(address.fill)) {
        for (const port of ports) port.close();
        reject(new FillWorkerError('the fill worker has ended'));
        return;
      }
      this.#calls.set(address.call, { resolve, reject, begun });
      this.post(address, command, ports);
    });
  }

  /** Tells the worker something to which there is no reply. */
  post(
    address: { readonly fill: number; readonly call: number },
    command: Unaddressed<FillCommand>,
    ports: readonly MessagePort[] = [],
  ): void {
    this.worker?.postMessage({ ...command, ...address }, ports);
  }

  /** A fill ran to its end on the worker: it does not count as one that ends soon. */
  proven(): void {
    this.#endedSoon = 0;
  }

  /** Ends the worker, and starts none again. */
  async close(): Promise<void> {
    const { worker } = this;
    if (this.#state.kind === 'down') clearTimeout(this.#state.timer);
    this.#enter({ kind: 'closed' });
    await worker?.terminate();
  }

  #begin(): State {
    const since = performance.now();
    try {
      const worker = this.#start();
      let failure: Error | undefined;
      worker.on('message', (reply: FillReply) => this.#take(reply));
      worker.on('error', (error: Error) => {
        failure = error;
      });
      worker.on('exit', (code) => this.#ended(failure ?? new Error(`it exited with code ${code}`), since));
      return { kind: 'running', worker, since };
    } catch (error) {
      return this.#pause(error as Error, since);
    }
  }

  #take(reply: FillReply): void {
    const waiting = this.#calls.get(reply.call);
    if (reply.kind === 'begun') {
      waiting?.begun?.(reply.total, reply.headers);
      return;
    }
    this.#calls.delete(reply.call);
    if (reply.kind === 'failed') waiting?.reject(new FillStorageError(reply.message, reply.code));
    else waiting?.resolve(reply);
  }

  #ended(cause: Error, since: number): void {
    const calls = [...this.#calls.values()];
    this.#calls.clear();
    this.fills.clear();
    this.hashes.clear();
    if (this.#state.kind !== 'closed') this.#enter(this.#pause(cause, since));
    const failure = new FillWorkerError(`the fill worker has ended: ${cause.message}`, { cause });
    for (const { reject } of calls) reject(failure);
  }

  #pause(cause: Error, since: number): State {
    this.#endedSoon = performance.now() - since >= soon ? 1 : this.#endedSoon + 1;
    const ms = Math.min(longestPause, firstPause * 2 ** (this.#endedSoon - 1));
    this.#log.warn(
      cause.message,
      { code: (cause as NodeJS.ErrnoException).code, restartIn: ms },
      'fill worker ended',
    );
    const timer = setTimeout(() => this.#enter(this.#begin()), ms);
    timer.unref();
    return { kind: 'down', timer };
  }

  #enter(state: State): void {
    this.#state = state;
    const changed = this.#changed;
    this.#changed = Promise.withResolvers();
    changed.resolve();
  }
}
