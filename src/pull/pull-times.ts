import { neverAborted } from '../lib/abort.ts';
import { nextTurn, Semaphore } from '../lib/concurrency.ts';
import type { Log } from '../lib/log.ts';
import { repositoryText } from '../oci/repository-key.ts';
import type { Journal, PullRecord } from '../store/journal.ts';

/** Notes that are kept for another try when they cannot be written. */
const mostKept = 10_000;

/** Notes that are written at once: as many as take the index about a millisecond. */
const batch = 100;

/** Notes when content was last pulled: kept in memory, the newest note of each, and written in batches. */
export class PullTimes {
  readonly #journal: Pick<Journal, 'recordPulls'>;
  readonly #log: Log;
  readonly #timer: NodeJS.Timeout;
  /** Of two writes under way the older could come to count. */
  readonly #semaphore = new Semaphore({ most: 1 });
  #notes = new Map<string, PullRecord>();

  /** @param options.every milliseconds between two writes */
  constructor(deps: { journal: Pick<Journal, 'recordPulls'>; log: Log }, options: { every: number }) {
    this.#journal = deps.journal;
    this.#log = deps.log;
    this.#timer = setInterval(() => {
      this.flush().catch((error) => this.#log.error({ cause: String(error) }, 'pull times not written'));
    }, options.every);
    this.#timer.unref();
  }

  /** Notes one pull. */
  note(pull: PullRecord): void {
    const name =
      pull.kind === 'blob' ? pull.digest : `${repositoryText(pull)} ${pull.tag ?? ''} ${pull.digest}`;
    this.#notes.set(name, pull);
  }

  /**
   * Writes what was noted, after what is being written.
   * @throws what the index throws; the notes are kept for the next time then
   */
  async flush(): Promise<void> {
    const release = await this.#semaphore.acquire(neverAborted);
    try {
      await this.#write();
    } finally {
      release();
    }
  }

  async #write(): Promise<void> {
    const notes = [...this.#notes];
    this.#notes = new Map();
    for (let written = 0; written < notes.length; written += batch) {
      if (written > 0) await nextTurn();
      const pulls = notes.slice(written, written + batch).map(([, pull]) => pull);
      try {
        await this.#journal.recordPulls(pulls);
      } catch (error) {
        const left = [...notes.slice(written), ...this.#notes];
        this.#notes = new Map(left.slice(-mostKept));
        throw error;
      }
    }
  }

  /**
   * Writes what was noted and stops.
   * @throws when that cannot be written
   */
  async close(): Promise<void> {
    clearInterval(this.#timer);
    await this.flush().catch((cause: unknown) => {
      throw new Error(`pull times not written: ${cause instanceof Error ? cause.message : cause}`, { cause });
    });
  }
}
