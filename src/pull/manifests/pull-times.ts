import type { Log } from '../../lib/log.ts';
import type { Journal, PullRecord } from '../../store/journal.ts';

/** Notes when content was last pulled: kept in memory, the newest note of each, and written in batches. */
export class PullTimes {
  readonly #journal: Pick<Journal, 'recordPulls'>;
  readonly #log: Log;
  readonly #timer: NodeJS.Timeout;
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
    this.#notes.set(`${pull.registry}/${pull.repository} ${pull.tag ?? ''} ${pull.digest}`, pull);
  }

  /** Writes what was noted. */
  async flush(): Promise<void> {
    if (this.#notes.size === 0) return;
    const notes = [...this.#notes.values()];
    this.#notes = new Map();
    await this.#journal.recordPulls(notes);
  }

  /** Writes what was noted and stops. */
  async close(): Promise<void> {
    clearInterval(this.#timer);
    await this.flush();
  }
}
