import type { Slice } from '../../lib/concurrency.ts';
import { compareTags } from '../../oci/tag-order.ts';

/** Tags that are looked at between two looks at the clock. */
const stride = 64;

/** Tags that are sorted without a pause. */
const run = 1_000;

const longestTag = 128;

const [quote, comma, dash, dot] = [0x22, 0x2c, 0x2d, 0x2e];
const [open, close] = [0x5b, 0x5d];

/** By byte: the byte of the letter in lower case; 0 for what no tag holds. */
const lowerCase = Uint8Array.from({ length: 256 }, (_, byte) => {
  const character = String.fromCharCode(byte);
  return /^[A-Za-z0-9._-]$/.test(character) ? character.toLowerCase().charCodeAt(0) : 0;
});

/**
 * Tags in the order of listings ({@link compareTags}), each once: a JSON array and the places in it where tags begin.
 * It takes about a third of the memory of as many strings, none of it on the heap. Nothing of it ever changes.
 */
export class TagList {
  /** The tags as a JSON array. */
  readonly json: Buffer;
  readonly #starts: Uint32Array;

  private constructor(json: Buffer, starts: Uint32Array) {
    this.json = json;
    this.#starts = starts;
  }

  /** Makes a list of tags in any order; those that are no tags are left out. */
  static async of(tags: readonly string[], slice: Slice, signal: AbortSignal): Promise<TagList> {
    const { ordered, ...written } = await write(tags, slice, signal);
    const list = new TagList(written.json, written.starts);
    // Most registries list tags in this order.
    return ordered ? list : TagList.of(await sorted(list, slice, signal), slice, signal);
  }

  /**
   * Reads a list that was stored.
   * @param json a JSON array of tags, in this order or another
   * @throws SyntaxError for what is no JSON
   */
  static async read(json: Buffer, slice: Slice, signal: AbortSignal): Promise<TagList> {
    const starts = await startsOf(json, slice, signal);
    if (starts !== undefined) return new TagList(json, starts);
    const listed: unknown = JSON.parse(json.toString());
    const tags = Array.isArray(listed) ? listed.filter((tag) => typeof tag === 'string') : [];
    return TagList.of(tags, slice, signal);
  }

  /** How many tags there are. */
  get length(): number {
    return this.#starts.length;
  }

  /** Bytes of memory, with one more for what is found out about each tag. */
  get bytes(): number {
    return this.json.length + this.#starts.byteLength + this.length;
  }

  /** The tag at an index below {@link TagList.length}. */
  at(index: number): string {
    const start = this.#starts[index] ?? 0;
    // Between two tags are a quote, a comma and a quote; behind the last one a quote and the bracket.
    const end = (this.#starts[index + 1] ?? this.json.length + 1) - 3;
    return this.json.toString('latin1', start, end);
  }

  /** The index of the first tag that comes after `last`, which need not be one of them; {@link TagList.length}: none. */
  after(last: string): number {
    let [from, to] = [0, this.length];
    while (from < to) {
      const middle = (from + to) >>> 1;
      if (compareTags(this.at(middle), last) > 0) to = middle;
      else from = middle + 1;
    }
    return from;
  }
}

/** Where the tags of a JSON array begin; `undefined` where it is not written as ours are, or in another order. */
async function startsOf(json: Buffer, slice: Slice, signal: AbortSignal): Promise<Uint32Array | undefined> {
  if (json.equals(Buffer.from('[]'))) return new Uint32Array(0);
  if (json[0] !== open) return undefined;
  let starts = new Uint32Array(Math.ceil(json.length / 8));
  let count = 0;
  for (let position = 1; ; ) {
    if (count % stride === 0 && slice.over) await slice.pause(signal);
    if (json[position] !== quote) return undefined;
    const start = position + 1;
    let end = start;
    while (lowerCase[json[end] ?? 0] !== 0) end += 1;
    if (end === start || json[end] !== quote) return undefined;
    if (count > 0 && !isBefore(json, starts[count - 1] ?? 0, start)) return undefined;
    if (count === starts.length) {
      const more = new Uint32Array(count * 2);
      more.set(starts);
      starts = more;
    }
    starts[count] = start;
    count += 1;
    const next = json[end + 1];
    if (next === close) return end + 2 === json.length ? starts.slice(0, count) : undefined;
    if (next !== comma) return undefined;
    position = end + 2;
  }
}

/** Whether the tag that begins at `one` comes before that at `other`, each ending with a quote. */
function isBefore(json: Buffer, one: number, other: number): boolean {
  let firstDifference = 0;
  for (let offset = 0; ; offset += 1) {
    const [a, b] = [json[one + offset] ?? 0, json[other + offset] ?? 0];
    const difference = (lowerCase[a] ?? 0) - (lowerCase[b] ?? 0);
    if (difference !== 0) return difference < 0;
    if (a === quote) return firstDifference < 0;
    if (firstDifference === 0) firstDifference = a - b;
  }
}

/** Writes tags as a JSON array. Says whether they are in order, each once. */
async function write(
  tags: readonly string[],
  slice: Slice,
  signal: AbortSignal,
): Promise<{ json: Buffer; starts: Uint32Array; ordered: boolean }> {
  let json = Buffer.allocUnsafeSlow(Math.max(1_024, tags.length * 24));
  const starts = new Uint32Array(tags.length);
  let count = 0;
  let ordered = true;
  let end = 1;
  json[0] = open;
  for (let index = 0; index < tags.length; index += 1) {
    if (index % stride === 0 && slice.over) await slice.pause(signal);
    if (json.length < end + longestTag + 4) {
      const more = Buffer.allocUnsafeSlow(json.length * 2);
      json.copy(more, 0, 0, end);
      json = more;
    }
    const start = end + 1;
    const behind = writeTag(tags[index] ?? '', json, start);
    if (behind === undefined) continue;
    json[end] = quote;
    json[behind] = quote;
    json[behind + 1] = comma;
    if (count > 0 && !isBefore(json, starts[count - 1] ?? 0, start)) ordered = false;
    starts[count] = start;
    count += 1;
    end = behind + 2;
  }
  // The bracket takes the place of the last comma.
  const length = count === 0 ? 2 : end;
  json[length - 1] = close;
  return { json: Buffer.from(json.subarray(0, length)), starts: starts.slice(0, count), ordered };
}

/** Writes a tag's letters; answers where they end, or `undefined` for what is no tag. */
function writeTag(tag: string, json: Buffer, start: number): number | undefined {
  if (tag.length === 0 || tag.length > longestTag) return undefined;
  for (let index = 0; index < tag.length; index += 1) {
    const code = tag.charCodeAt(index);
    const isFirst = index === 0 && (code === dot || code === dash);
    if (code > 127 || lowerCase[code] === 0 || isFirst) return undefined;
    json[start + index] = code;
  }
  return start + tag.length;
}

/** The tags of a list that is in no order: in order, each once. */
async function sorted(list: TagList, slice: Slice, signal: AbortSignal): Promise<readonly string[]> {
  let runs: (readonly string[])[] = [];
  for (let from = 0; from < list.length; from += run) {
    const length = Math.min(run, list.length - from);
    runs.push(Array.from({ length }, (_, index) => sortKey(list.at(from + index))).sort());
    if (slice.over) await slice.pause(signal);
  }
  while (runs.length > 1) {
    const merged: (readonly string[])[] = [];
    for (let index = 0; index < runs.length; index += 2) {
      merged.push(await merge(runs[index] ?? [], runs[index + 1] ?? [], slice, signal));
    }
    runs = merged;
  }
  const unique: string[] = [];
  let last: string | undefined;
  for (const key of runs[0] ?? []) {
    if (key !== last) unique.push(key.slice((key.length + 1) / 2));
    last = key;
    if (unique.length % stride === 0 && slice.over) await slice.pause(signal);
  }
  return unique;
}

/** A tag's place in the order, as a text that plain comparison orders: no tag holds a NUL. */
function sortKey(tag: string): string {
  return `${tag.toLowerCase()}\0${tag}`;
}

async function merge(
  one: readonly string[],
  other: readonly string[],
  slice: Slice,
  signal: AbortSignal,
): Promise<readonly string[]> {
  const merged: string[] = [];
  let [i, j] = [0, 0];
  while (i < one.length || j < other.length) {
    if (merged.length % stride === 0 && slice.over) await slice.pause(signal);
    const [a, b] = [one[i], other[j]];
    if (b === undefined || (a !== undefined && a <= b)) {
      merged.push(a ?? '');
      i += 1;
    } else {
      merged.push(b);
      j += 1;
    }
  }
  return merged;
}
