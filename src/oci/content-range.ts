/** What a `Content-Range` says (RFC 9110, section 14.4): the bytes sent, or that the range cannot be had. */
export type ContentRange =
  | {
      readonly kind: 'range';
      readonly start: number;
      readonly end: number;
      readonly total: number | undefined;
    }
  | { readonly kind: 'unsatisfied'; readonly total: number };

const pattern = /^bytes (?:([0-9]{1,16})-([0-9]{1,16})\/([0-9]{1,16}|\*)|\*\/([0-9]{1,16}))$/i;

/** Parses a `Content-Range` of bytes (`end` is inclusive, `*` is an undefined total); `undefined` when malformed. */
export function parseContentRange(text: string): ContentRange | undefined {
  const match = pattern.exec(text);
  if (!match) return undefined;
  if (match[4] !== undefined) {
    const total = Number(match[4]);
    return Number.isSafeInteger(total) ? { kind: 'unsatisfied', total } : undefined;
  }
  const start = Number(match[1]);
  const end = Number(match[2]);
  const total = match[3] === '*' ? undefined : Number(match[3]);
  if (!Number.isSafeInteger(end) || start > end) return undefined;
  if (total !== undefined && (!Number.isSafeInteger(total) || end >= total)) return undefined;
  return { kind: 'range', start, end, total };
}
