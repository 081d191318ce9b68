import { type Interval, RangeSet } from '../../lib/range-set.ts';
import { FillProgress } from '../threads/fill-progress.ts';
import type { Shown } from './fill-state.ts';

/** A blob up to this many bytes is served only once verified; of a larger one the last piece is held back. */
const servedWhole = 4 * 1024 * 1024;
const heldBack = 512 * 1024;

/**
 * Which bytes of a blob are in its file, and how many of them a reader may be given. Before the digest is verified the
 * last piece is held back, and a small blob entirely. So no client ever has a complete wrong body.
 */
export class Arrival {
  readonly progress = new FillProgress();
  readonly #lanes = new Map<number, number>();
  #settled = new RangeSet();
  #size: number | undefined;

  /** Bytes of the whole blob, once known. */
  get size(): number | undefined {
    return this.#size;
  }

  /** Says how large the blob is; the first word holds. */
  announceSize(size: number): void {
    this.#size ??= size;
  }

  /** Takes up what an earlier run left. */
  restore(intervals: readonly Interval[]): void {
    for (const [start, end] of intervals) this.#settled.add(start, end);
    this.progress.wake();
  }

  /** A connection begins at `start`. */
  begin(slot: number, start: number, stop: number): void {
    this.#lanes.set(slot, start);
    this.progress.begin(slot, start, stop);
  }

  /** A connection has ended; what it wrote stays. */
  settle(slot: number): void {
    const start = this.#lanes.get(slot);
    this.#lanes.delete(slot);
    if (start !== undefined) this.#settled.add(start, this.progress.position(slot));
    this.progress.wake();
  }

  /** Forgets all that is here: the bytes are of no use. */
  reset(): void {
    this.#settled = new RangeSet();
    this.#lanes.clear();
    this.progress.wake();
  }

  /** What is here, settled or still moving. */
  arrived(): RangeSet {
    const all = new RangeSet(this.#settled.intervals);
    for (const [slot, start] of this.#lanes) all.add(start, this.progress.position(slot));
    return all;
  }

  /** Whether the byte at `position` is shown only once all is verified. */
  withholds(position: number): boolean {
    const size = this.#size;
    return size === undefined || size <= servedWhole || position >= size - heldBack;
  }

  /** How many bytes from `position` on may be read now, where so much is shown. */
  readable(position: number, shown: Shown): number {
    const size = this.#size;
    if (size === undefined || shown === 'nothing') return 0;
    if (shown === 'all') return Math.max(0, size - position);
    if (size <= servedWhole) return 0;
    return Math.max(0, Math.min(this.#runFrom(position), size - heldBack) - position);
  }

  #runFrom(position: number): number {
    let end = this.#settled.runFrom(position);
    for (;;) {
      let further = end;
      for (const [slot, start] of this.#lanes) {
        if (start <= further) further = Math.max(further, this.progress.position(slot));
      }
      further = this.#settled.runFrom(further);
      if (further === end) return end;
      end = further;
    }
  }
}
