import { type Interval, RangeSet } from '../../lib/range-set.ts';
import { FillProgress } from '../threads/fill-progress.ts';
import type { Shown } from './fill-state.ts';

/** A blob up to this many bytes is served only once verified; of a larger one the last piece is held back. */
const servedWhole = 4 * 1024 * 1024;
const heldBack = 512 * 1024;

/** The bytes that are in the file of a fill. */
export type Arrived = Pick<RangeSet, 'intervals' | 'size' | 'runFrom' | 'gaps'>;

/**
 * Which bytes of a blob are in its file, and how many of them a reader may be given. Before the digest is verified the
 * last piece is held back, and a small blob entirely. So no client ever has a complete wrong body.
 */
export class Arrival {
  readonly progress = new FillProgress();
  readonly #lanes = new Map<number, number>();
  #settled = new RangeSet();
  #size: number | undefined;
  /** What was made last, and how far each connection had come then. */
  #arrived: { readonly positions: ReadonlyMap<number, number>; readonly ranges: Arrived } | undefined;

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
    this.#changed();
  }

  /** A connection begins at `start`. */
  begin(slot: number, start: number, stop: number): void {
    this.#lanes.set(slot, start);
    this.progress.begin(slot, start, stop);
    this.#arrived = undefined;
  }

  /** A connection has ended; what it wrote stays. */
  settle(slot: number): void {
    const start = this.#lanes.get(slot);
    this.#lanes.delete(slot);
    if (start !== undefined) this.#settled.add(start, this.progress.position(slot));
    this.#changed();
  }

  /** Forgets all that is here: the bytes are of no use. */
  reset(): void {
    this.#settled = new RangeSet();
    this.#lanes.clear();
    this.#changed();
  }

  /** What connections that have ended brought, and those that have not so far; made anew only when there is more. */
  arrived(): Arrived {
    const last = this.#arrived;
    if (last !== undefined && this.#isStill(last.positions)) return last.ranges;
    const ranges = new RangeSet(this.#settled.intervals);
    const positions = new Map<number, number>();
    for (const [slot, start] of this.#lanes) {
      const position = this.progress.position(slot);
      positions.set(slot, position);
      ranges.add(start, position);
    }
    this.#arrived = { positions, ranges };
    return ranges;
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

  #changed(): void {
    this.#arrived = undefined;
    this.progress.wake();
  }

  #isStill(positions: ReadonlyMap<number, number>): boolean {
    for (const [slot, position] of positions) {
      if (this.progress.position(slot) !== position) return false;
    }
    return true;
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
