import { LRUCache } from 'lru-cache';

/**
 * A bounded memory of what is stored elsewhere. A value that was read before it was forgotten, and arrives after that, is
 * not kept: it may be what there was before the change that it was forgotten for.
 */
export class Memory<V extends object> {
  readonly #values: LRUCache<string, V>;
  /** One token for each value that is to be kept when it arrives; forgetting takes them away. */
  readonly #awaited = new Map<string, Set<object>>();

  /**
   * @param options.max how many values are kept, or
   * @param options.maxSize how large they are in all, each as `sizeOf` says
   */
  constructor(options: { max: number } | { maxSize: number; sizeOf(value: V): number }) {
    this.#values =
      'max' in options
        ? new LRUCache({ max: options.max })
        : new LRUCache({ maxSize: options.maxSize, sizeCalculation: options.sizeOf });
  }

  /** What is kept under a name. */
  get(name: string): V | undefined {
    return this.#values.get(name);
  }

  /** What is kept under a name, or else what `load` resolves to, which is kept from then on. */
  async read(name: string, load: () => Promise<V | undefined>): Promise<V | undefined> {
    const kept = this.#values.get(name);
    if (kept !== undefined) return kept;
    const keep = this.#await(name);
    let loaded: V | undefined;
    try {
      loaded = await load();
    } finally {
      keep(loaded);
    }
    return loaded;
  }

  /** Stores a value elsewhere by `write`, and keeps it once that has succeeded. */
  async write<T>(name: string, value: V, write: () => Promise<T>): Promise<T> {
    const keep = this.#await(name);
    let written = false;
    try {
      const answer = await write();
      written = true;
      return answer;
    } finally {
      keep(written ? value : undefined);
    }
  }

  /** Changes what is stored elsewhere by `change`, and forgets what is kept of it, also where the change failed. */
  async change<T>(name: string, change: () => Promise<T>): Promise<T> {
    try {
      return await change();
    } finally {
      this.forget(name);
    }
  }

  /** Forgets what is kept under a name. */
  forget(name: string): void {
    this.#values.delete(name);
    this.#awaited.delete(name);
  }

  /** Forgets what is kept under names that end so. */
  forgetEnding(ending: string): void {
    for (const name of [...this.#values.keys(), ...this.#awaited.keys()]) {
      if (name.endsWith(ending)) this.forget(name);
    }
  }

  /** Announces a value; what is returned is called once, with the value if there is one. */
  #await(name: string): (value: V | undefined) => void {
    const token = {};
    const awaited = this.#awaited.get(name) ?? new Set();
    this.#awaited.set(name, awaited.add(token));
    return (value) => {
      if (this.#awaited.get(name) !== awaited) return;
      awaited.delete(token);
      if (awaited.size === 0) this.#awaited.delete(name);
      if (value !== undefined) this.#values.set(name, value);
    };
  }
}
