/** Something that has become known. `kind` says what. */
export type Fact = { readonly kind: string };

/** Whom facts are told. Telling returns once every listener has heard, and never throws. */
export type Tell<F extends Fact> = { tell(fact: F): void };

/** Ends a subscription; idempotent. */
type Unsubscribe = () => void;

/**
 * Tells what has become known to whoever wants to know it. Who tells a fact knows nobody who listens. Listeners are
 * called at once, in the order of their subscription, so that a memory is right again before the teller goes on.
 */
export class Facts<F extends Fact> implements Tell<F> {
  readonly #listeners = new Map<string, readonly ((fact: F) => void)[]>();
  readonly #failed: (error: unknown, fact: F) => void;

  /** @param deps.failed hears of a listener that threw; the other listeners and the teller do not */
  constructor(deps: { failed(error: unknown, fact: F): void }) {
    this.#failed = deps.failed;
  }

  /** Calls `listener` for each fact of a kind from now on. */
  on<K extends F['kind']>(kind: K, listener: (fact: Extract<F, { readonly kind: K }>) => void): Unsubscribe {
    // A listener of one kind is only ever called with facts of that kind.
    const own = (fact: F) => listener(fact as Extract<F, { readonly kind: K }>);
    this.#listeners.set(kind, [...(this.#listeners.get(kind) ?? []), own]);
    return () => {
      const others = (this.#listeners.get(kind) ?? []).filter((each) => each !== own);
      this.#listeners.set(kind, others);
    };
  }

  tell(fact: F): void {
    const listeners = this.#listeners.get(fact.kind);
    if (listeners === undefined) return;
    for (const listener of listeners) {
      try {
        listener(fact);
      } catch (error) {
        this.#failed(error, fact);
      }
    }
  }
}
