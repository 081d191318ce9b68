import { abandonOnAbort } from '../../lib/abort.ts';
import type { Clock } from '../../lib/clock.ts';
import type { UpstreamRefusal } from '../result.ts';

/** A token and how many seconds it is good for, or why there is none. */
export type TokenAnswer =
  | { readonly kind: 'token'; readonly token: string; readonly lifetime: number }
  | UpstreamRefusal;

type Entry = { readonly token: string; readonly freshUntil: number };

/** Scopes remembered at once; the one asked for longest ago goes first. */
const maxEntries = 1000;

/** The share of its lifetime for which a token is used, so that it does not expire on the way. */
const usedShare = 0.8;

/** Bearer tokens by key, each asked for once however many callers want it at the same time. */
export class TokenCache {
  readonly #clock: Clock;
  readonly #fetch: (key: string, signal: AbortSignal) => Promise<TokenAnswer>;
  readonly #entries = new Map<string, Entry>();
  readonly #flights = new Map<string, Promise<TokenAnswer>>();
  readonly #closing = new AbortController();

  /** `fetch` asks for a token; its signal aborts when the cache is closed, not when a caller leaves. */
  constructor(deps: { clock: Clock }, fetch: (key: string, signal: AbortSignal) => Promise<TokenAnswer>) {
    this.#clock = deps.clock;
    this.#fetch = fetch;
  }

  /** The token for a key, from memory or asked for now. Rejects with the caller's signal's reason. */
  async get(key: string, signal: AbortSignal): Promise<{ kind: 'token'; token: string } | UpstreamRefusal> {
    const entry = this.#entries.get(key);
    if (entry && entry.freshUntil > this.#clock.now()) return { kind: 'token', token: entry.token };
    let flight = this.#flights.get(key);
    if (!flight) {
      flight = this.#ask(key).finally(() => this.#flights.delete(key));
      // Every caller may have left by the time it fails.
      flight.catch(() => {});
      this.#flights.set(key, flight);
    }
    return abandonOnAbort(flight, signal);
  }

  /** Drops a token that was refused; one that replaced it meanwhile stays. */
  forget(key: string, token: string): void {
    if (this.#entries.get(key)?.token === token) this.#entries.delete(key);
  }

  /** Ends what is under way. */
  close(): void {
    this.#entries.clear();
    this.#closing.abort(new Error('the upstream client was closed'));
  }

  async #ask(key: string): Promise<TokenAnswer> {
    const asked = this.#clock.now();
    const answer = await this.#fetch(key, this.#closing.signal);
    if (answer.kind === 'token' && !this.#closing.signal.aborted) {
      this.#entries.delete(key);
      this.#entries.set(key, { token: answer.token, freshUntil: asked + answer.lifetime * 1000 * usedShare });
      const oldest = this.#entries.keys().next();
      if (this.#entries.size > maxEntries && !oldest.done) this.#entries.delete(oldest.value);
    }
    return answer;
  }
}
