/** One range as the client asked for it (RFC 9110, section 14.1.2); `last` is inclusive. */
export type RangeSpec =
  | { readonly kind: 'from'; readonly first: number; readonly last: number | undefined }
  | { readonly kind: 'suffix'; readonly length: number };

/** A range resolved against a size: bytes `start` up to but not including `end`. */
export type ByteRange = { readonly start: number; readonly end: number };

/** What a `Range` header means for content of a known size. */
export type ResolvedRange =
  | { readonly kind: 'full' }
  | { readonly kind: 'single'; readonly range: ByteRange }
  | { readonly kind: 'multiple'; readonly ranges: readonly ByteRange[] }
  | { readonly kind: 'unsatisfiable' };

/** A header that asks for more pieces than this is answered with the whole content, as RFC 9110 section 14.2 allows. */
const mostRanges = 16;

/**
 * Parses a `Range` header; `undefined` when absent, malformed, of another unit than bytes, or of too many
 * pieces: all of which mean that the header is ignored (RFC 9110, section 14.2).
 */
export function parseRange(header: string | undefined): readonly RangeSpec[] | undefined {
  if (header === undefined || header.length > 1024) return undefined;
  const match = /^bytes[ \t]*=(.*)$/i.exec(header.trim());
  if (match === null) return undefined;
  const specs: RangeSpec[] = [];
  for (const piece of (match[1] ?? '').split(',')) {
    const text = piece.trim();
    if (text === '') continue;
    const spec = parseSpec(text);
    if (spec === undefined) return undefined;
    specs.push(spec);
  }
  return specs.length === 0 || specs.length > mostRanges ? undefined : specs;
}

function parseSpec(text: string): RangeSpec | undefined {
  const match = /^([0-9]{0,15})-([0-9]{0,15})$/.exec(text);
  if (match === null) return undefined;
  const [, first = '', last = ''] = match;
  if (first === '') return last === '' ? undefined : { kind: 'suffix', length: Number(last) };
  const from = Number(first);
  if (last === '') return { kind: 'from', first: from, last: undefined };
  return Number(last) < from ? undefined : { kind: 'from', first: from, last: Number(last) };
}

/**
 * Resolves what was asked against the content's size in bytes.
 * Ranges beyond the end are dropped; when none is left the request is unsatisfiable. Ranges that overlap, or
 * together exceed the content, are answered with the whole of it, so that a request cannot multiply the work.
 */
export function resolveRange(specs: readonly RangeSpec[] | undefined, size: number): ResolvedRange {
  if (specs === undefined) return { kind: 'full' };
  const ranges = specs.map((spec) => resolveSpec(spec, size)).filter((range) => range !== undefined);
  const [first] = ranges;
  if (first === undefined) return { kind: 'unsatisfiable' };
  if (ranges.length === 1) return { kind: 'single', range: first };
  return overlap(ranges) ? { kind: 'full' } : { kind: 'multiple', ranges };
}

function resolveSpec(spec: RangeSpec, size: number): ByteRange | undefined {
  if (spec.kind === 'suffix') {
    return spec.length === 0 || size === 0
      ? undefined
      : { start: Math.max(0, size - spec.length), end: size };
  }
  if (spec.first >= size) return undefined;
  return { start: spec.first, end: spec.last === undefined ? size : Math.min(size, spec.last + 1) };
}

function overlap(ranges: readonly ByteRange[]): boolean {
  const sorted = ranges.toSorted((a, b) => a.start - b.start);
  return sorted.some((range, index) => {
    const next = sorted[index + 1];
    return next !== undefined && next.start < range.end;
  });
}

/** The `Content-Range` value of one range (RFC 9110, section 14.4). */
export function contentRange(range: ByteRange, size: number): string {
  return `bytes ${range.start}-${range.end - 1}/${size}`;
}
