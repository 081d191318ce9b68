import type { Clock } from '../../lib/clock.ts';
import { Flights } from '../../lib/flights.ts';
import { Remembered } from '../../lib/remembered.ts';
import type { UpstreamRefusal } from '../result.ts';

/** A token and how many seconds it is good for, or why there is none. */
export type TokenAnswer =
  | { readonly kind: 'token'; readonly token: string; readonly lifetime: number }
  | UpstreamRefusal;

/** Scopes remembered at once. */
const mostTokens = 1000;

/** The share of its lifetime for which a token is used, so that it does not expire on the way. */
const usedShare = 0.8;

/** Bearer tokens by key, each asked for once however many callers want it at the same time. */
export class TokenCache {
  readonly #clock: Clock;
  readonly #fetch: (key: string, signal: AbortSignal) => Promise<TokenAnswer>;
  readonly #tokens: Remembered<string>;
  readonly #flights = new Flights<TokenAnswer>();

  /** `fetch` asks for a token; its signal aborts when the cache is closed, not when a caller leaves. */
  constructor(deps: { clock: Clock }, fetch: (key: string, signal: AbortSignal) => Promise<TokenAnswer>) {
    this.#clock = deps.clock;
    this.#fetch = fetch;
    this.#tokens = new Remembered(deps, { most: mostTokens });
  }

  /** The token for a key, from memory or asked for now. Rejects with the caller's signal's reason. */
  async get(key: string, signal: AbortSignal): Promise<{ kind: 'token'; token: string } | UpstreamRefusal> {
    const token = this.#tokens.get(key);
    if (token !== undefined) return { kind: 'token', token };
    const { value } = await this.#flights.join(key, (own) => this.#ask(key, own), signal);
    return value;
  }

  /** Drops a token that was refused; one that replaced it meanwhile stays. */
  forget(key: string, token: string): void {
    if (this.#tokens.get(key) === token) this.#tokens.delete(key);
  }

  /** Ends what is under way. */
  close(): void {
    this.#tokens.clear();
    void this.#flights.close(new Error('the upstream client was closed'));
  }

  async #ask(key: string, signal: AbortSignal): Promise<TokenAnswer> {
    const asked = this.#clock.now();
    const answer = await this.#fetch(key, signal);
    if (answer.kind === 'token' && !signal.aborted) {
      this.#tokens.set(key, answer.token, asked + answer.lifetime * 1000 * usedShare);
    }
    return answer;
  }
}
