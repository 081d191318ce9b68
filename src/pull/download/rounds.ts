import { delay } from '../../lib/abort.ts';
import { verdictError, weigh } from '../asking/outcomes.ts';
import { pauseBeforeAskingAgain } from './ask-again.ts';
import type { Choices } from './choices.ts';

/** How patient a download is with its upstreams. */
export type DownloadPatience = {
  /** How many times all upstreams are asked in turn without a byte of progress before the clients are told. */
  readonly rounds: number;
  /** Milliseconds before the second round; doubles with each further one. Also before upstreams are asked again. */
  readonly pause: number;
};

/** A round that brought fewer bytes than this counts as no progress, so that a trickle of cuts comes to an end. */
export const progressFloor = 64 * 1024;

/**
 * The rounds of a download: in each, every upstream that may be asked is asked in turn. It judges what upstreams answered
 * when a round has ended without the blob.
 */
export class Rounds {
  readonly #choices: Choices;
  readonly #patience: DownloadPatience;
  readonly #what: string;
  readonly #named: boolean;
  #arrived: number;
  #idle = 0;
  #askedAgain = false;

  /**
   * @param options.what the blob, as error messages name it
   * @param options.named whether a manifest names it
   * @param options.arrived bytes that are there before the first round
   */
  constructor(
    deps: { choices: Choices },
    options: { patience: DownloadPatience; what: string; named: boolean; arrived: number },
  ) {
    this.#choices = deps.choices;
    this.#patience = options.patience;
    this.#what = options.what;
    this.#named = options.named;
    this.#arrived = options.arrived;
  }

  /**
   * Begins another round, after a pause where that is due.
   * @param arrived bytes that are there now
   * @throws OciError when the answers of the last round are final, or there was no progress for too long
   */
  async next(arrived: number, signal: AbortSignal): Promise<void> {
    this.#idle = arrived - this.#arrived >= progressFloor ? 0 : this.#idle + 1;
    this.#arrived = arrived;
    const { rounds, pause } = this.#patience;
    const verdict = weigh(this.#choices.refusals());
    const wait = this.#askedAgain
      ? undefined
      : pauseBeforeAskingAgain(verdict, { named: this.#named, pause });
    if (wait !== undefined) {
      this.#askedAgain = true;
      await delay(wait, signal);
      this.#choices.newRound(verdict.kind);
      return;
    }
    const hopeless = this.#idle > 0 && this.#choices.allExcluded;
    if (verdict.kind !== 'unavailable' || hopeless || this.#idle >= rounds) {
      throw verdictError(verdict, this.#what, 'BLOB_UNKNOWN');
    }
    if (this.#idle > 0) await delay(pause * 2 ** (this.#idle - 1), signal);
    this.#choices.newRound();
  }
}
