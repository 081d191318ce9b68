import { delay } from '../../lib/abort.ts';
import type { Clock } from '../../lib/clock.ts';
import type { Tell } from '../../lib/facts.ts';
import type { Log } from '../../lib/log.ts';
import { type Digest, digestAlgorithm } from '../../oci/digest.ts';
import type { PullFact } from '../../pull/pull-facts.ts';
import type { BlobFile, BlobStore } from '../../store/blob-store.ts';
import type { DigestStream } from '../../store/disk/digest-stream.ts';
import type { DigestThread } from '../../store/disk/digest-thread.ts';
import type { Metadata } from '../../store/metadata.ts';
import type { StoredBlobs } from '../../store/stored-blobs.ts';

/** What is told while the storage is scrubbed. */
export type ScrubEvent =
  | {
      readonly kind: 'progress';
      /** Manifests and blobs checked so far, and their bytes. */
      readonly checked: number;
      readonly bytes: number;
      /** What is expected in all. */
      readonly of: { readonly checked: number; readonly bytes: number };
    }
  | {
      /**
       * One that is wrong: `corrupt` bytes are not those of the digest, `unreadable` ones the disk does not give, and
       * `missing` ones are recorded but gone. It is set aside or forgotten, and fetched again when it is asked for.
       */
      readonly kind: 'wrong';
      readonly what: 'manifest' | 'blob';
      readonly digest: Digest;
      readonly problem: 'corrupt' | 'unreadable' | 'missing';
      readonly message: string;
    }
  | ({ readonly kind: 'done' } & ScrubSummary);

/** How a scrub ended. */
export type ScrubSummary = { readonly checked: number; readonly bytes: number; readonly wrong: number };

/** What a scrub works with. */
type ScrubDeps = {
  readonly metadata: Pick<Metadata, 'blobs' | 'manifests'>;
  readonly blobs: StoredBlobs;
  /** The bytes on the disk, whatever the index says of them. */
  readonly bytes: BlobStore;
  readonly digests: DigestThread;
  readonly clock: Clock;
  readonly log: Log;
  /** Told of each manifest and blob that is no longer stored. */
  readonly facts: Tell<PullFact>;
};

/** The result of reading a blob. */
type Found =
  | { readonly kind: 'digest'; readonly digest: Digest }
  | { readonly kind: 'unreadable'; readonly cause: unknown };

/** Milliseconds between two events about the progress. */
const progressEvery = 250;

/** Reads all that is stored once more, and sets aside what is not what its digest says. */
export class Scrub {
  readonly #deps: ScrubDeps;

  constructor(deps: ScrubDeps) {
    this.#deps = deps;
  }

  /**
   * Checks the whole storage; the last event is `done`. What is stored or removed meanwhile may or may not be seen.
   * @param options.rate bytes read per second, so that clients do not notice; 0: as fast as the disk allows
   * @throws the signal's reason when it aborts; what was found wrong by then stays set aside
   */
  async run(
    options: { readonly rate: number },
    onEvent: (event: ScrubEvent) => void,
    signal: AbortSignal,
  ): Promise<ScrubSummary> {
    const { metadata, clock } = this.#deps;
    const recorded = await metadata.blobs.all();
    const manifests = await metadata.manifests.digests();
    const run = new Run(onEvent, clock, options.rate, {
      checked: recorded.length + manifests.length,
      bytes: recorded.reduce((sum, { size }) => sum + size, 0),
    });
    for (const digest of manifests) {
      signal.throwIfAborted();
      await this.#manifest(digest, run);
    }
    const known = new Set(recorded.map(({ digest }) => digest));
    const seen = new Set<Digest>();
    for await (const digest of this.#deps.bytes.digests()) {
      seen.add(digest);
      await this.#blob(digest, known.has(digest), run, signal);
    }
    for (const { digest } of recorded) {
      if (seen.has(digest) || !(await this.#deps.blobs.forgetMissing(digest))) continue;
      this.#wrong(
        run,
        'blob',
        digest,
        'missing',
        'its file is gone; it is fetched again when it is asked for',
      );
    }
    return run.end();
  }

  async #manifest(digest: Digest, run: Run): Promise<void> {
    const { metadata, facts } = this.#deps;
    const bytes = await metadata.manifests.bytes(digest);
    if (bytes === undefined) return;
    const found = await this.#deps.digests.digestOf(bytes, digestAlgorithm(digest));
    run.checked();
    if (found === digest) return;
    await metadata.manifests.drop(digest);
    facts.tell({ kind: 'manifest-gone', digest });
    this.#wrong(run, 'manifest', digest, 'corrupt', `its bytes have the digest ${found}; it was dropped`);
  }

  async #blob(digest: Digest, recorded: boolean, run: Run, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    const file = await this.#deps.bytes.open(digest);
    if (file === undefined) return;
    let stream: DigestStream | undefined;
    let found: Found;
    try {
      stream = this.#deps.digests.begin(digestAlgorithm(digest));
      found = await read(file, stream, run, signal);
    } finally {
      await stream?.drop();
      await file.close();
    }
    run.checked();
    if (found.kind === 'unreadable') {
      return this.#setAside(run, digest, 'unreadable', `the disk does not give it: ${String(found.cause)}`);
    }
    if (found.digest !== digest) {
      return this.#setAside(run, digest, 'corrupt', `its bytes have the digest ${found.digest}`);
    }
    // A blob has no record where the index that knew it was lost.
    if (!recorded) await this.#deps.blobs.record(digest, file.size);
  }

  async #setAside(
    run: Run,
    digest: Digest,
    problem: 'corrupt' | 'unreadable',
    message: string,
  ): Promise<void> {
    await this.#deps.blobs.setAside(digest);
    this.#wrong(run, 'blob', digest, problem, `${message}; it was moved to quarantine/`);
  }

  #wrong(
    run: Run,
    what: 'manifest' | 'blob',
    digest: Digest,
    problem: 'corrupt' | 'unreadable' | 'missing',
    message: string,
  ): void {
    this.#deps.log.error({ what, digest, problem, cause: message }, 'stored content is wrong');
    run.wrong({ kind: 'wrong', what, digest, problem, message });
  }
}

/** Counts one scrub, keeps it to its rate, and tells of its progress. */
class Run {
  readonly #onEvent: (event: ScrubEvent) => void;
  readonly #clock: Clock;
  readonly #rate: number;
  readonly #of: { checked: number; bytes: number };
  readonly #started: number;
  #told: number;
  #checked = 0;
  #bytes = 0;
  #wrong = 0;

  constructor(
    onEvent: (event: ScrubEvent) => void,
    clock: Clock,
    rate: number,
    of: { checked: number; bytes: number },
  ) {
    this.#onEvent = onEvent;
    this.#clock = clock;
    this.#rate = rate;
    this.#of = of;
    this.#started = clock.now();
    this.#told = this.#started;
  }

  /** Bytes were read; resolves when the rate allows more. */
  async read(bytes: number, signal: AbortSignal): Promise<void> {
    this.#bytes += bytes;
    this.#tell();
    if (this.#rate === 0) return;
    const ahead = (this.#bytes / this.#rate) * 1000 - (this.#clock.now() - this.#started);
    if (ahead > 1) await delay(ahead, signal);
  }

  checked(): void {
    this.#checked += 1;
    this.#tell();
  }

  wrong(event: ScrubEvent): void {
    this.#wrong += 1;
    this.#onEvent(event);
  }

  end(): ScrubSummary {
    const summary = { checked: this.#checked, bytes: this.#bytes, wrong: this.#wrong };
    this.#onEvent({ kind: 'done', ...summary });
    return summary;
  }

  #tell(): void {
    const now = this.#clock.now();
    if (now - this.#told < progressEvery) return;
    this.#told = now;
    this.#onEvent({ kind: 'progress', checked: this.#checked, bytes: this.#bytes, of: this.#of });
  }
}

/** Digests a whole file. A failure of the disk is an answer; every other failure is thrown. */
async function read(file: BlobFile, stream: DigestStream, run: Run, signal: AbortSignal): Promise<Found> {
  for (let position = 0; ; ) {
    signal.throwIfAborted();
    const room = await stream.room();
    let bytes: number;
    try {
      bytes = await file.read(room, room.length, position);
    } catch (cause) {
      signal.throwIfAborted();
      return { kind: 'unreadable', cause };
    }
    if (bytes === 0) return { kind: 'digest', digest: await stream.end() };
    stream.filled(bytes);
    position += bytes;
    await run.read(bytes, signal);
  }
}
