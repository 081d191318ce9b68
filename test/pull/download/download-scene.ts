import { neverAborted } from '../../../src/lib/abort.ts';
import type { Facts } from '../../../src/lib/facts.ts';
import { RangeSet } from '../../../src/lib/range-set.ts';
import type { Digest } from '../../../src/oci/digest.ts';
import { HedgeBudget } from '../../../src/pull/asking/hedge-budget.ts';
import { Choices } from '../../../src/pull/download/choices.ts';
import { Download } from '../../../src/pull/download/download.ts';
import { Fill } from '../../../src/pull/fill/fill.ts';
import type { PullFact } from '../../../src/pull/pull-facts.ts';
import type { LaneBegun, LaneRequest } from '../../../src/pull/threads/fill-messages.ts';
import type { FillSlot } from '../../../src/pull/threads/fill-workers.ts';
import type { BlobFile } from '../../../src/store/blob-store.ts';
import { UpstreamHealth } from '../../../src/upstream/health/health.ts';
import type { BlobRequest } from '../../../src/upstream/requests/blob-request.ts';
import {
  type BlobTransfer,
  type FetchResult,
  UpstreamError,
  type UpstreamRefusal,
  type UpstreamResult,
} from '../../../src/upstream/result.ts';
import type { WireRequest } from '../../../src/upstream/wire/messages.ts';
import { type CapturedLog, captureLog } from '../../helpers/capture-log.ts';
import { pullFacts } from '../../helpers/facts.ts';
import { digestOf } from '../../helpers/image.ts';
import { ok, type ScriptedUpstream, scriptedUpstream, type Traits, targetOf } from '../scripted-upstream.ts';

/** One connection of a download, which does what the test says. */
export type TestLane = {
  readonly upstream: string;
  /** What is asked for, as `upstream start-end`; without an end it is the end of the blob. */
  readonly asked: string;
  readonly fetch: LaneRequest;
  /** The next byte that it brings. */
  readonly position: number;
  readonly stop: number;
  /** How it ended, if it has. */
  readonly end: 'complete' | 'broken' | 'refused' | 'aborted' | 'failed' | undefined;
  /** Its answer begins; `total` is the blob's size, if the answer declares it. */
  begin(total?: number): void;
  /** Brings so many bytes, or as many as it takes to its stop, where it ends. */
  bring(bytes: number): void;
  /** Its answer ends in order. */
  finish(): void;
  /** Its connection breaks. */
  cut(): void;
  /** Its upstream answers something else. */
  refuse(refusal: UpstreamRefusal): void;
  /** The disk fails under it. */
  fail(error: Error): void;
};

/** An upstream of the scene. */
export type TestUpstream = Traits & {
  /** The blob as its connections bring it, the n-th from 0 on; the right one unless given. */
  readonly copy?: Buffer | ((turn: number) => Buffer);
  /** Does with each connection what it does by itself; without it the test does everything. */
  readonly script?: (lane: TestLane) => void;
};

/** A refusal by this upstream: it is not reachable. */
export function down(upstream: string, message = 'it refuses connections'): UpstreamRefusal {
  return { kind: 'unavailable', upstream, cause: new UpstreamError(message, { upstream, op: 'get-blob' }) };
}

/** A place for a fill, in memory, and upstreams of which each connection is the test's to drive. */
export class DownloadScene {
  readonly digest: Digest;
  readonly blob: Buffer;
  readonly fill: Fill;
  readonly upstreams: readonly ScriptedUpstream[];
  /** All connections, in the order in which they were opened. */
  readonly lanes: TestLane[] = [];
  arrived = new RangeSet();
  /** What else the slot was asked to do. */
  readonly calls: string[] = [];
  /** The connections that an abort ends only when the test says so. */
  readonly lingering: (() => void)[] = [];
  linger = false;
  /** Awaited by a reset after it has thrown the bytes away. */
  whileResetting: () => Promise<void> = async () => undefined;
  readonly #bytes: Buffer;
  #length = 0;
  readonly #copies = new Map<string, TestUpstream>();
  readonly #refused = new WeakMap<FetchResult, UpstreamRefusal>();

  /**
   * @param options.left what an earlier run left, as intervals of the right blob
   * @param options.run what the fill does; nothing unless given
   */
  constructor(
    blob: Buffer,
    upstreams: Record<string, TestUpstream>,
    options: {
      sizeKnown?: boolean;
      run?: (scene: DownloadScene, fill: Fill, signal: AbortSignal) => Promise<void>;
    } = {},
  ) {
    this.blob = blob;
    this.#bytes = Buffer.alloc(blob.length);
    this.digest = digestOf(blob);
    this.upstreams = Object.entries(upstreams).map(([name, upstream]) => this.#upstream(name, upstream));
    const { sizeKnown = true, run = () => new Promise<void>(() => undefined) } = options;
    this.fill = new Fill(
      {
        run: (fill, signal) => {
          fill.note({ kind: 'opened' });
          return run(this, fill, signal);
        },
        open: async () => this.#open(),
      },
      { digest: this.digest, size: sizeKnown ? blob.length : undefined, patience: 3_600_000 },
    );
    this.fill.start();
  }

  /** What the file holds. */
  get file(): Buffer {
    return this.#bytes.subarray(0, this.#length);
  }

  /** Puts into the file what an earlier run left. */
  leave(start: number, bytes: Buffer): void {
    this.#write(start, bytes);
    this.fill.arrival.restore([[start, start + bytes.length]]);
  }

  /** The place of the fill. */
  readonly slot: FillSlot = {
    open: async () => this.arrived.intervals,
    fetch: (fetch, begun, signal) => this.#fetch(fetch, begun, signal),
    utilization: () => 0,
    verify: async () => {
      this.calls.push('verify');
      const found = digestOf(this.file.subarray(0, this.arrived.runFrom(0)));
      return found === this.digest ? undefined : found;
    },
    digests: async (ranges) => {
      this.calls.push('digests');
      return ranges.map(([start, end]) => digestOf(this.file.subarray(start, end)));
    },
    reset: async () => {
      this.calls.push('reset');
      this.#length = 0;
      this.#bytes.fill(0);
      this.arrived = new RangeSet();
      await this.whileResetting();
    },
    close: async () => undefined,
  };

  /** The connection that was opened as the n-th, counting from 0. */
  lane(index: number): TestLane {
    const lane = this.lanes[index];
    if (lane === undefined) throw new Error(`lane ${index} is not open; there are ${this.asked.join(', ')}`);
    return lane;
  }

  /** What was asked for, in order. */
  get asked(): string[] {
    return this.lanes.map(({ asked }) => asked);
  }

  /** The connections that have not ended. */
  get open(): TestLane[] {
    return this.lanes.filter(({ end }) => end === undefined);
  }

  #upstream(name: string, upstream: TestUpstream): ScriptedUpstream {
    this.#copies.set(name, upstream);
    const health =
      upstream.health ?? new UpstreamHealth({ clock: { now: () => Date.now() }, random: () => 0.999 });
    const answers: ScriptedUpstream['answers'] = {
      getBlob: (_repository, _digest, { start, end }) => {
        const blob: Pick<BlobRequest, keyof BlobRequest> = {
          first: async (signal) => {
            signal.throwIfAborted();
            return { kind: 'send', request: { url: `${name} ${start}-${end ?? ''}` } as WireRequest };
          },
          next: async (result) => ({ kind: 'ended', result: this.#resultOf(name, result) }),
          begun: () => undefined,
          close: () => undefined,
        };
        return blob as BlobRequest;
      },
    };
    return scriptedUpstream(answers, name, { ...upstream, health });
  }

  #resultOf(name: string, result: FetchResult): UpstreamResult<BlobTransfer> {
    const refusal = this.#refused.get(result);
    if (refusal !== undefined) return refusal;
    if (result.kind !== 'body') throw new Error('a test lane ends otherwise');
    const { total, received, ending } = result;
    if (ending === 'complete') return ok({ ending, total, received }, name);
    return ok({ ending: 'broken', total, received, reason: 'cut', message: 'it was cut' }, name);
  }

  #fetch(fetch: LaneRequest, begun: LaneBegun, signal: AbortSignal): Promise<FetchResult> {
    signal.throwIfAborted();
    if (this.lanes.length > 500) throw new Error('this download never ends');
    const { slot, start } = fetch;
    const { progress } = this.fill.arrival;
    const name = fetch.request.url.split(' ')[0] ?? '';
    const { copy: copies = this.blob, script } = this.#copies.get(name) ?? {};
    const turn = this.lanes.filter(({ upstream }) => upstream === name).length;
    const copy = typeof copies === 'function' ? copies(turn) : copies;
    const { promise, resolve, reject } = Promise.withResolvers<FetchResult>();
    let end: TestLane['end'];
    let total: number | undefined;
    const body = (ending: Extract<FetchResult, { kind: 'body' }>['ending']): FetchResult => {
      return { kind: 'body', total, received: progress.position(slot) - start, ending };
    };
    // Its slot is used again once it has ended.
    let last: { position: number; stop: number } | undefined;
    const over = (how: TestLane['end'], settle: () => void) => {
      if (end !== undefined) return;
      last = { position: progress.position(slot), stop: progress.stop(slot) };
      end = how;
      settle();
    };
    const lane: TestLane = {
      upstream: name,
      asked: fetch.request.url,
      fetch,
      get position() {
        return last?.position ?? progress.position(slot);
      },
      get stop() {
        return last?.stop ?? progress.stop(slot);
      },
      get end() {
        return end;
      },
      begin(declared) {
        total = declared;
        if (end === undefined) begun(declared, {});
      },
      bring: (bytes) => {
        if (end !== undefined) return;
        const { position } = lane;
        const to = Math.min(position + bytes, Math.max(position, lane.stop), copy.length);
        this.#write(position, copy.subarray(position, to));
        progress.advance(slot, to);
        if (to >= lane.stop) lane.finish();
      },
      finish: () => over('complete', () => resolve(body('complete'))),
      cut: () =>
        over('broken', () =>
          resolve(body({ kind: 'failed', phase: 'body', reason: 'cut', bytes: 0, message: 'it was cut' })),
        ),
      refuse: (refusal) =>
        over('refused', () => {
          const result = { kind: 'answer', status: 0, headers: {}, body: new Uint8Array() } as const;
          const own: FetchResult = { ...result };
          this.#refused.set(own, refusal);
          resolve(own);
        }),
      fail: (error) => over('failed', () => reject(error)),
    };
    const abort = () => over('aborted', () => reject(signal.reason));
    signal.addEventListener('abort', () => (this.linger ? this.lingering.push(abort) : abort()));
    this.lanes.push(lane);
    // Not before the download knows of it, as from a worker.
    queueMicrotask(() => script?.(lane));
    return promise;
  }

  #write(position: number, bytes: Buffer): void {
    const end = position + bytes.length;
    this.#length = Math.max(this.#length, end);
    for (const [from, to] of this.arrived.gaps(position, end)) {
      bytes.copy(this.#bytes, from, from - position, to - position);
    }
    this.arrived.add(position, end);
  }

  #open(): BlobFile {
    return {
      size: this.file.length,
      read: async (buffer, length, position) => this.file.copy(buffer, 0, position, position + length),
      close: async () => undefined,
    };
  }
}

/** What a connection does by itself: brings bytes and breaks off, or ends; or is refused. */
export type Attempt = { readonly brings: number; readonly ends?: boolean } | UpstreamRefusal;

/** Lets each connection to an upstream do the next of these; the last one again and again. */
export function attempts(...script: readonly Attempt[]): (lane: TestLane) => void {
  const left = [...script];
  return (lane) => {
    const attempt = left.length > 1 ? left.shift() : left[0];
    if (attempt === undefined) return;
    if ('kind' in attempt) {
      lane.refuse(attempt);
      return;
    }
    lane.begin();
    lane.bring(attempt.brings);
    if (attempt.ends) lane.finish();
    else lane.cut();
  };
}

/** A {@link Download} under way, and what it told. */
export type RunningDownload = {
  /** `undefined` once it is through, else its failure. */
  readonly done: Promise<unknown>;
  readonly log: CapturedLog;
  readonly choices: Choices;
  /** How many second requests were sent. */
  hedged: number;
};

/** Runs a {@link Download} of the scene's blob from all its upstreams. */
export function startDownload(
  scene: DownloadScene,
  {
    rounds = 4,
    pause = 0,
    signal = neverAborted,
    facts = pullFacts(),
    hedges = new HedgeBudget({ facts }),
  }: {
    rounds?: number;
    pause?: number;
    signal?: AbortSignal;
    facts?: Facts<PullFact>;
    hedges?: HedgeBudget;
  } = {},
): RunningDownload {
  const { fill, slot, upstreams } = scene;
  const log = captureLog();
  facts.on('request-hedged', () => {
    running.hedged += 1;
  });
  const choices = new Choices(
    upstreams.map(({ client }) => client),
    { random: () => 0.999 },
  );
  const deps = {
    log: log.log,
    fill,
    slot,
    choices,
    hedges,
    bandwidths: () => [],
    now: () => performance.now(),
  };
  const download = new Download(deps, { target: targetOf(upstreams), patience: { rounds, pause } });
  const done = download.run(signal).then(
    () => undefined,
    (error: unknown) => error,
  );
  const running = { done, log, choices, hedged: 0 };
  return running;
}
