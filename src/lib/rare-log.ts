import type { Clock } from './clock.ts';
import type { Log, LogFields } from './log.ts';

/** Writes warnings that would come again and again: at most one in a period for each cause. */
export class RareLog {
  readonly #log: Log;
  readonly #clock: Clock;
  readonly #period: number;
  readonly #written = new Map<string, { at: number; omitted: number }>();

  /** @param options.period milliseconds between two lines about one cause */
  constructor(deps: { log: Log; clock: Clock }, options: { period: number }) {
    this.#log = deps.log;
    this.#clock = deps.clock;
    this.#period = options.period;
  }

  /** Writes a line, with the number of lines about this cause that were left out since the last. */
  warn(cause: string, fields: LogFields, message: string): void {
    const now = this.#clock.now();
    const last = this.#written.get(cause);
    if (last !== undefined && Math.abs(now - last.at) < this.#period) {
      last.omitted += 1;
      return;
    }
    this.#forgetOld(now);
    this.#written.set(cause, { at: now, omitted: 0 });
    const omitted = last?.omitted ?? 0;
    this.#log.warn({ ...fields, cause, ...(omitted > 0 && { omitted }) }, message);
  }

  #forgetOld(now: number): void {
    for (const [cause, { at, omitted }] of this.#written) {
      if (omitted === 0 && Math.abs(now - at) >= this.#period) this.#written.delete(cause);
    }
  }
}
