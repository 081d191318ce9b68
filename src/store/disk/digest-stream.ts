import type { Digest } from '../../oci/digest.ts';
import type { DigestCommand, DigestReply } from './digest-messages.ts';

/** Buffers of one stream: one is filled while the thread has the other. */
const mostBuffers = 2;

/** The digest thread is lost, or a file could not be written there; `code` is the system's where it has one. */
export class DigestThreadError extends Error {
  readonly code: string;

  constructor(message: string, options: { code?: string | undefined; cause?: unknown } = {}) {
    super(message, options);
    this.name = 'DigestThreadError';
    this.code = options.code ?? 'DIGEST_THREAD';
  }
}

/** What a stream needs of the thread. */
type DigestThreadLine = {
  send(command: DigestCommand, transferred?: readonly ArrayBuffer[]): void;
  /** A buffer that no stream uses. */
  borrow(): Buffer;
  giveBack(buffer: Buffer): void;
};

/**
 * Bytes that are hashed in another thread, and written there where they are to be kept. They are handed over one after
 * the other: nothing is written before the last promise has settled. No more than two buffers are on their way.
 */
export class DigestStream {
  readonly #id: number;
  readonly #line: DigestThreadLine;
  readonly #ended = Promise.withResolvers<Digest>();
  readonly #dropped = Promise.withResolvers<void>();
  #current: Buffer | undefined;
  #filled = 0;
  #away = 0;
  #roomy: PromiseWithResolvers<void> | undefined;
  #over: { readonly failure: Error | undefined } | undefined;

  constructor(deps: { line: DigestThreadLine }, options: { id: number }) {
    this.#line = deps.line;
    this.#id = options.id;
    // A failure may be met by a write, and the digest never be asked for.
    this.#ended.promise.catch(() => undefined);
  }

  /**
   * What the next bytes are put into, from its beginning; {@link filled} says how many they are.
   * @throws DigestThreadError when bytes before them could not be taken
   */
  async room(): Promise<Buffer> {
    if (this.#over?.failure !== undefined) throw this.#over.failure;
    if (this.#current === undefined && this.#away === mostBuffers) {
      this.#roomy = Promise.withResolvers();
      await this.#roomy.promise;
    }
    this.#current ??= this.#line.borrow();
    return this.#current.subarray(this.#filled);
  }

  /** Says how many bytes were put into the room. */
  filled(bytes: number): void {
    this.#filled += bytes;
    if (this.#filled === this.#current?.length) this.#handOver();
  }

  /**
   * Takes a copy of bytes, which are the caller's again once this resolves.
   * @throws DigestThreadError as {@link room}
   */
  async write(bytes: Uint8Array): Promise<void> {
    for (let done = 0; done < bytes.length; ) {
      const room = await this.room();
      const piece = bytes.subarray(done, done + room.length);
      room.set(piece);
      this.filled(piece.length);
      done += piece.length;
    }
  }

  /**
   * The digest of all the bytes, which are in the file then.
   * @throws DigestThreadError
   */
  end(): Promise<Digest> {
    if (this.#over === undefined) {
      if (this.#filled > 0) this.#handOver();
      this.#line.send({ id: this.#id, kind: 'end' });
    }
    return this.#ended.promise;
  }

  /** Ends the stream, whatever became of it; resolves once its file is closed. To be called after {@link end} too. */
  async drop(): Promise<void> {
    if (this.#current !== undefined) this.#line.giveBack(this.#current);
    this.#current = undefined;
    if (this.#over !== undefined) return;
    this.#line.send({ id: this.#id, kind: 'drop' });
    await this.#dropped.promise;
  }

  /** Takes in what the thread says. */
  told(reply: DigestReply): void {
    switch (reply.kind) {
      case 'taken':
        this.#away -= 1;
        this.#roomy?.resolve();
        return;
      case 'ended':
        this.#over = { failure: undefined };
        this.#ended.resolve(reply.digest);
        return;
      case 'dropped':
        this.lost(new DigestThreadError('the bytes were dropped'));
        return;
      case 'failed':
        this.lost(new DigestThreadError(reply.message, { code: reply.code }));
        return;
      default:
        reply satisfies never;
    }
  }

  /** Fails the stream: the thread says nothing more about it. */
  lost(failure: Error): void {
    this.#over ??= { failure };
    this.#ended.reject(failure);
    this.#dropped.resolve();
    this.#roomy?.reject(failure);
  }

  #handOver(): void {
    const buffer = this.#current;
    if (buffer === undefined) return;
    const length = this.#filled;
    this.#current = undefined;
    this.#filled = 0;
    this.#away += 1;
    const whole = buffer.buffer as ArrayBuffer;
    this.#line.send({ id: this.#id, kind: 'bytes', buffer: whole, length }, [whole]);
  }
}
