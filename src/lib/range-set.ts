/** A half-open interval of whole numbers: `start` up to but not including `end`. */
export type Interval = readonly [start: number, end: number];

/** A set of whole numbers kept as sorted intervals that neither overlap nor touch. */
export class RangeSet {
  #intervals: Interval[];

  constructor(intervals: Iterable<Interval> = []) {
    this.#intervals = [];
    for (const [start, end] of intervals) this.add(start, end);
  }

  /** The intervals in ascending order. */
  get intervals(): readonly Interval[] {
    return this.#intervals;
  }

  /** How many numbers are in the set. */
  get size(): number {
    return this.#intervals.reduce((sum, [start, end]) => sum + end - start, 0);
  }

  /** Adds `start` up to but not including `end`. */
  add(start: number, end: number): void {
    if (end <= start) return;
    const before = this.#intervals.filter((interval) => interval[1] < start);
    const after = this.#intervals.filter((interval) => interval[0] > end);
    const touched = this.#intervals.slice(before.length, this.#intervals.length - after.length);
    const merged: Interval = [
      Math.min(start, touched[0]?.[0] ?? start),
      Math.max(end, touched.at(-1)?.[1] ?? end),
    ];
    this.#intervals = [...before, merged, ...after];
  }

  /** The end of the run of numbers in the set that begins at `position`; `position` itself when it is not in the set. */
  runFrom(position: number): number {
    const found = this.#intervals.find(([start, end]) => start <= position && position < end);
    return found === undefined ? position : found[1];
  }

  /** The intervals between `start` and `end` that are not in the set, in ascending order. */
  gaps(start: number, end: number): readonly Interval[] {
    const gaps: Interval[] = [];
    let position = start;
    for (const [from, to] of this.#intervals) {
      if (from >= end) break;
      if (from > position) gaps.push([position, from]);
      position = Math.max(position, to);
    }
    if (position < end) gaps.push([position, end]);
    return gaps;
  }
}
