import { parseContentRange } from '../../oci/content-range.ts';
import type { WireResponseHead } from './messages.ts';

/** Why an answer is refused that begins before what was asked for, where its head may not be dropped. */
export const rangeless = 'it ignores Range';

/** Whether a response carries the bytes that were asked for, and how many to drop before the first of them. */
type BodyVerdict =
  | { readonly kind: 'accept'; readonly skip: number; readonly total: number | undefined }
  | { readonly kind: 'refuse'; readonly reason: string };

/**
 * Judges the answer to `Range: bytes=<offset>-` (or to a plain GET, offset 0), by RFC 9110, section 14: a 200
 * is the whole blob, whose first `offset` bytes are dropped; a 206 must start exactly at the offset and be as
 * long as it says. A 206 that ends before the blob does is accepted: the caller asks for the rest.
 */
export function acceptBody(head: WireResponseHead, offset: number): BodyVerdict {
  // A captive portal or an error page of a proxy: no registry serves a blob as HTML.
  if (/^text\/html\b/i.test(head.headers['content-type'] ?? '')) return refuse('it sent an HTML page');
  if (head.status === 200) {
    if (head.length !== undefined && head.length < offset)
      return refuse('the blob is shorter than what is here already');
    return { kind: 'accept', skip: offset, total: head.length };
  }
  if (head.status !== 206) return refuse(`the status is ${head.status}`);
  const range = parseContentRange(head.headers['content-range'] ?? '');
  if (range?.kind !== 'range') return refuse('a partial answer does not say which part it is');
  if (range.start !== offset) return refuse('a partial answer starts elsewhere than asked');
  if (head.length !== undefined && head.length !== range.end - range.start + 1) {
    return refuse('a partial answer is not as long as it says');
  }
  return { kind: 'accept', skip: 0, total: range.total };
}

function refuse(reason: string): BodyVerdict {
  return { kind: 'refuse', reason };
}
