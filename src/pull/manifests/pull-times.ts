import { neverAborted } from '../../lib/abort.ts';
import { Semaphore } from '../../lib/concurrency.ts';
import type { Log } from '../../lib/log.ts';
import { repositoryText } from '../../oci/repository-key.ts';
import type { Journal, PullRecord } from '../../store/journal.ts';

/** Notes that are kept for another try when they cannot be written. */
const mostKept = 10_000;

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
    this.#notes.set(`${repositoryText(pull)} ${pull.tag ?? ''} ${pull.digest}`, pull);
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
    if (this.#notes.size === 0) return;
    const notes = this.#notes;
    this.#notes = new Map();
    try {
      await this.#journal.recordPulls([...notes.values()]);
    } catch (error) {
      const all = [...notes, ...this.#notes];
      this.#notes = new Map(all.slice(-mostKept));
      throw error;
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
