/** Connections that one fill can have open at once, over all its upstreams. */
export const laneSlots = 64;

/**
 * How far each connection of a fill has come, shared between the worker that writes and the main thread that serves
 * and steers. A lane writes from its position on and ends before its stop, which the main thread may lower.
 */
export class FillProgress {
  readonly shared: SharedArrayBuffer;
  readonly #epoch: Int32Array;
  readonly #positions: BigInt64Array;
  readonly #stops: BigInt64Array;

  constructor(shared: SharedArrayBuffer = new SharedArrayBuffer(8 + 16 * laneSlots)) {
    this.shared = shared;
    this.#epoch = new Int32Array(shared, 0, 1);
    this.#positions = new BigInt64Array(shared, 8, laneSlots);
    this.#stops = new BigInt64Array(shared, 8 + 8 * laneSlots, laneSlots);
  }

  /** Changes whenever a lane has come further. */
  get epoch(): number {
    return Atomics.load(this.#epoch, 0);
  }

  /** The next byte that the lane will write. */
  position(slot: number): number {
    return Number(Atomics.load(this.#positions, slot));
  }

  /** Where the lane ends. */
  stop(slot: number): number {
    return Number(Atomics.load(this.#stops, slot));
  }

  /** Lays out a lane before its connection begins. */
  begin(slot: number, start: number, stop: number): void {
    Atomics.store(this.#positions, slot, BigInt(start));
    Atomics.store(this.#stops, slot, BigInt(stop));
  }

  /** Lets a lane end earlier. What it writes beyond, before it notices, is written in vain. */
  cut(slot: number, at: number): void {
    Atomics.store(this.#stops, slot, BigInt(at));
  }

  /** Says how far a lane has come, and wakes who waits. */
  advance(slot: number, position: number): void {
    Atomics.store(this.#positions, slot, BigInt(position));
    this.wake();
  }

  /** Wakes who waits. */
  wake(): void {
    Atomics.add(this.#epoch, 0, 1);
    Atomics.notify(this.#epoch, 0);
  }

  /** Resolves when the epoch is no longer `seen`. */
  async changed(seen: number): Promise<void> {
    const { async, value } = Atomics.waitAsync(this.#epoch, 0, seen);
    if (async) await value;
  }
}
