/** The entity tag of content: its digest, strong (RFC 9110, section 8.8.3). */
export function etagOf(digest: string): string {
  return `"${digest}"`;
}

/** Whether an `If-None-Match` header names `etag` (weak comparison, RFC 9110, section 13.1.2). */
export function noneMatch(header: string | undefined, etag: string): boolean {
  if (header === undefined) return false;
  if (header.trim() === '*') return true;
  return header.split(',').some((candidate) => candidate.trim().replace(/^W\//, '') === etag);
}

/** The `Range` header, unless an `If-Range` says that it holds for other content (RFC 9110, section 13.1.5). */
export function rangeInForce(
  range: string | undefined,
  ifRange: string | undefined,
  etag: string,
): string | undefined {
  return ifRange === undefined || ifRange.trim() === etag ? range : undefined;
}
