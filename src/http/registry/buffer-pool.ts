/** Bytes of one pooled buffer: the read size that costs the least CPU a byte. */
const pooledSize = 512 * 1024;

/** Bytes of the buffers handed out when the pool is exhausted. */
const spareSize = 64 * 1024;

/** Reusable send buffers, bounded: beyond the bound senders get small ones of their own instead of waiting. */
export class BufferPool {
  readonly #idle: Buffer[] = [];
  readonly #most: number;
  #made = 0;

  /** @param options.most pooled buffers at once */
  constructor(options: { most: number }) {
    this.#most = options.most;
  }

  /** A buffer of at most what one send of `length` bytes can use; give it back with {@link BufferPool.release}. */
  acquire(length: number): Buffer {
    if (length <= spareSize) return Buffer.allocUnsafeSlow(Math.max(1, length));
    const idle = this.#idle.pop();
    if (idle !== undefined) return idle;
    if (this.#made >= this.#most) return Buffer.allocUnsafeSlow(spareSize);
    this.#made += 1;
    return Buffer.allocUnsafeSlow(pooledSize);
  }

  /** Takes a buffer back; nothing may use it any more. */
  release(buffer: Buffer): void {
    if (buffer.length === pooledSize) this.#idle.push(buffer);
  }
}
