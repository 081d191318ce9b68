/** Room that is always offered to the socket; less than this and the unread bytes move to the front. */
const minRoom = 64 * 1024;

/** A buffer that was filled to its end so many times in a row is too small for its line. */
const fullReads = 4;

/**
 * The memory that a socket reads into: one buffer used over and over, and a second one only from the first
 * time that a sink holds bytes of the first while more arrive (a TLS record that was already decrypted
 * arrives even after the socket was paused, so memory that is lent must never be offered).
 */
export class ReadBuffer {
  readonly #most: number;
  #size: number;
  #full = 0;
  #active: Buffer;
  #spare: Buffer | undefined;
  #lent: Buffer | undefined;
  #start = 0;
  #end = 0;

  /**
   * @param size bytes to begin with, at least 128 KiB
   * @param most bytes up to which it doubles while reads fill it: fewer and larger pieces on a fast line
   */
  constructor(size: number, most: number = size) {
    this.#size = size;
    this.#most = most;
    this.#active = Buffer.allocUnsafeSlow(size);
  }

  /** How many bytes wait to be consumed. */
  get pending(): number {
    return this.#end - this.#start;
  }

  /** The bytes that wait, without copying. */
  get view(): Buffer {
    return this.#active.subarray(this.#start, this.#end);
  }

  /**
   * Where the next bytes shall be written. Only to be called between reads (Node calls `onread.buffer` right
   * after `onread.callback`), because it may move the unread bytes.
   */
  room(): Buffer {
    const lent = this.#lent === this.#active;
    if (!lent && this.pending === 0) {
      if (this.#full >= fullReads) this.#grow();
      this.#start = 0;
      this.#end = 0;
    } else if (this.#active.length - this.#end < minRoom) {
      this.#makeRoom(lent);
    }
    return this.#active.subarray(this.#end);
  }

  /** Notes that `count` bytes were written to the front of the last {@link room}. */
  wrote(count: number): void {
    this.#end += count;
    this.#full = this.#end === this.#active.length ? this.#full + 1 : 0;
  }

  /** Takes in bytes that were read elsewhere. */
  append(bytes: Buffer): void {
    for (let at = 0; at < bytes.length; ) {
      const count = bytes.copy(this.room(), 0, at);
      this.wrote(count);
      at += count;
    }
  }

  /** Drops `count` bytes from the front of {@link view}. */
  consume(count: number): void {
    this.#start += count;
  }

  /** Keeps what was handed out of {@link view} untouched until {@link giveBack}. */
  lend(): void {
    this.#lent = this.#active;
  }

  /** The lent bytes may be overwritten again. */
  giveBack(): void {
    this.#lent = undefined;
  }

  #grow(): void {
    this.#full = 0;
    if (this.#size * 2 > this.#most) return;
    this.#size *= 2;
    this.#active = Buffer.allocUnsafeSlow(this.#size);
    this.#spare = undefined;
  }

  #makeRoom(lent: boolean): void {
    const pending = this.pending;
    if (!lent && this.#size - pending >= minRoom) {
      this.#active.copyWithin(0, this.#start, this.#end);
    } else {
      const other = this.#takeSpare(pending + minRoom);
      this.#active.copy(other, 0, this.#start, this.#end);
      this.#spare = this.#active.length === this.#size ? this.#active : undefined;
      this.#active = other;
    }
    this.#start = 0;
    this.#end = pending;
  }

  /** The other buffer when it is large enough, else a new one. Only a lent buffer is left, so the other is free. */
  #takeSpare(needed: number): Buffer {
    const spare = this.#spare;
    if (spare && spare.length >= needed) return spare;
    return Buffer.allocUnsafeSlow(needed <= this.#size ? this.#size : needed * 2);
  }
}
