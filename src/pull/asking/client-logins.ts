import { createHmac, randomBytes } from 'node:crypto';
import type { Clock } from '../../lib/clock.ts';
import { Flights } from '../../lib/flights.ts';
import { Remembered } from '../../lib/remembered.ts';
import { type Reference, referenceText } from '../../oci/reference.ts';
import type { LoginThrottle } from '../../policy/login-throttle.ts';
import { imageName, type ResolvedRepository } from '../repository.ts';

/** Whether a login may pull; `unknown` (no such manifest, nothing to ask about) counts as no and is not remembered. */
export type PassthroughAnswer = 'yes' | 'no' | 'unknown';

/**
 * Asks an upstream whether a client's own login may pull from a repository.
 * @param authorization the client's `Authorization` header (Basic), for that upstream alone
 * @param reference the manifest asked for; `undefined` where a blob or a listing is
 * @throws OciError when the upstream cannot tell now
 */
export type MayPull = (
  target: ResolvedRepository,
  authorization: string,
  reference: Reference | undefined,
  signal: AbortSignal,
) => Promise<PassthroughAnswer>;

/** What a client is told: the upstream's answer, or that it was refused too often to be asked about now. */
export type PassthroughVerdict =
  | { readonly kind: PassthroughAnswer }
  | { readonly kind: 'limited' /** Whole seconds. */; readonly retryAfter: number };

/** Milliseconds for which an upstream's yes and its no are taken as given. */
const remembered = { yes: 300_000, no: 60_000 };

const mostRemembered = 5_000;

/** Upstreams' word on who may pull, remembered by repository and login: rights are a repository's, not a tag's. */
export class Passthrough {
  readonly #clock: Clock;
  readonly #mayPull: MayPull;
  readonly #throttle: LoginThrottle;
  readonly #key = randomBytes(32);
  readonly #answers: Remembered<'yes' | 'no'>;
  readonly #flights = new Flights<PassthroughVerdict>();

  /** @param deps.throttle bounds what upstreams are asked in vain; shared with the passwords */
  constructor(deps: { clock: Clock; mayPull: MayPull; throttle: LoginThrottle }) {
    this.#clock = deps.clock;
    this.#mayPull = deps.mayPull;
    this.#throttle = deps.throttle;
    this.#answers = new Remembered(deps, { most: mostRemembered });
  }

  /** The remembered answer for a login; `undefined` when it has to be asked. */
  known(target: ResolvedRepository, authorization: string): 'yes' | 'no' | undefined {
    return this.#answers.get(this.#keyOf(target, authorization));
  }

  /**
   * Asks, once for all who ask the same at the same time. Rejects with the caller's signal's reason.
   * @param client the address that a no is counted for
   */
  async ask(
    target: ResolvedRepository,
    authorization: string,
    reference: Reference | undefined,
    { client, signal }: { client: string; signal: AbortSignal },
  ): Promise<PassthroughVerdict> {
    const key = this.#keyOf(target, authorization);
    const name = `${key} ${reference === undefined ? '' : referenceText(reference)}`;
    const ask = (own: AbortSignal) =>
      this.#askNow(key, client, () => this.#mayPull(target, authorization, reference, own));
    const { value } = await this.#flights.join(name, ask, signal);
    return value;
  }

  /** Ends what is under way. */
  close(): void {
    void this.#flights.close();
  }

  async #askNow(
    key: string,
    client: string,
    ask: () => Promise<PassthroughAnswer>,
  ): Promise<PassthroughVerdict> {
    const retryAfter = this.#throttle.take(client);
    if (retryAfter !== undefined) return { kind: 'limited', retryAfter };
    let answer: PassthroughAnswer | undefined;
    try {
      answer = await ask();
    } finally {
      if (answer !== 'no') this.#throttle.giveBack(client);
    }
    if (answer !== 'unknown') {
      this.#answers.set(key, answer, this.#clock.now() + remembered[answer]);
    }
    return { kind: answer };
  }

  #keyOf(target: ResolvedRepository, authorization: string): string {
    return createHmac('sha256', this.#key)
      .update(JSON.stringify([imageName(target), authorization]))
      .digest('base64');
  }
}
