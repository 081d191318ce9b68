/** Something to be done when what was opened is closed. */
export type Closer = () => Promise<void> | void;

/** Registers a closer; they run in the opposite order. */
export type OnClose = (closer: Closer) => void;

/** What is open, and how it is closed: once, in the opposite order. */
export class Lifetime {
  readonly #closers: Closer[] = [];
  #closing: Promise<void> | undefined;

  readonly onClose: OnClose = (closer) => {
    this.#closers.push(closer);
  };

  /** Closes everything; idempotent. */
  close(): Promise<void> {
    this.#closing ??= this.#run();
    return this.#closing;
  }

  async #run(): Promise<void> {
    for (const closer of this.#closers.reverse()) await closer();
  }
}
