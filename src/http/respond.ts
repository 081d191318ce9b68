import type { IncomingMessage, ServerResponse } from 'node:http';
import type { OciError, OciErrorCode } from '../oci/errors.ts';
import { type ByteRange, contentRange } from '../oci/range.ts';

/** The status of each OCI error code. */
const statusOfCode = {
  BLOB_UNKNOWN: 404,
  BLOB_UPLOAD_INVALID: 400,
  BLOB_UPLOAD_UNKNOWN: 404,
  DIGEST_INVALID: 400,
  MANIFEST_BLOB_UNKNOWN: 404,
  MANIFEST_INVALID: 400,
  MANIFEST_UNKNOWN: 404,
  NAME_INVALID: 400,
  NAME_UNKNOWN: 404,
  SIZE_INVALID: 400,
  UNAUTHORIZED: 401,
  DENIED: 403,
  UNSUPPORTED: 405,
  TOOMANYREQUESTS: 429,
  RANGE_INVALID: 416,
  PAGINATION_NUMBER_INVALID: 400,
  UNAVAILABLE: 503,
  UNKNOWN: 500,
} as const satisfies Record<OciErrorCode, number>;

/** Bytes of one write: a TLS connection tells of a client's progress only when all of a write is gone. */
const longestWrite = 128 * 1024;

/** Statuses of the answers that are not errors. */
export const statuses = { ok: 200, partial: 206, notModified: 304, notFound: 404, unavailable: 503 } as const;

/** What a client that speaks plain HTTP to the TLS port is told, whatever it asked. */
export const plainHttpRefusal =
  'HTTP/1.0 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n' +
  'This port speaks HTTPS: use https://, and let the client trust its certificate.\n';

/** Header values by name; `undefined` leaves the header out. */
export type Headers = Readonly<Record<string, string | number | undefined>>;

/**
 * The `Server-Timing` value: how the answer came about, how long the upstream took to begin, and how long it took
 * from the request (at `startedAt` of `performance.now`) to the answer's head; all in milliseconds.
 */
export function serverTiming(startedAt: number, outcome: string, upstreamMs?: number): string {
  const upstream = upstreamMs === undefined ? '' : `, upstream;dur=${upstreamMs}`;
  return `cache;desc=${outcome}${upstream}, total;dur=${(performance.now() - startedAt).toFixed(1)}`;
}

/** Writes a response head; nothing may be set afterwards. */
export function sendHead(outgoing: ServerResponse, status: number, headers: Headers): void {
  const fields: Record<string, string | number> = { 'Docker-Distribution-Api-Version': 'registry/2.0' };
  for (const name in headers) {
    const value = headers[name];
    if (value !== undefined) fields[name] = value;
  }
  outgoing.writeHead(status, fields);
}

/** Sends a whole response; a HEAD request gets the same headers without the body. */
export function sendWhole(
  { incoming, outgoing }: { incoming: IncomingMessage; outgoing: ServerResponse },
  headers: Headers,
  body: Buffer | string,
): void {
  const length = Buffer.byteLength(body);
  sendHead(outgoing, statuses.ok, { ...headers, 'Content-Length': length });
  if (incoming.method === 'HEAD') outgoing.end();
  else if (length <= longestWrite) outgoing.end(body);
  else writeOn(outgoing, typeof body === 'string' ? Buffer.from(body) : body);
}

function writeOn(outgoing: ServerResponse, bytes: Buffer): void {
  const rest = bytes.subarray(longestWrite);
  if (rest.length === 0) {
    outgoing.end(bytes);
    return;
  }
  outgoing.write(bytes.subarray(0, longestWrite), (error) => {
    if (!error) writeOn(outgoing, rest);
  });
}

/** Says that the client's copy is the current one (RFC 9110, section 15.4.5). */
export function sendNotModified(outgoing: ServerResponse, headers: Headers): void {
  sendHead(outgoing, statuses.notModified, headers);
  outgoing.end();
}

/** Begins a blob's body: whole, one range of it, or several; the caller writes the bytes. */
export function sendBlobHead(
  outgoing: ServerResponse,
  size: number,
  body:
    | { kind: 'full' }
    | { kind: 'single'; range: ByteRange }
    | { kind: 'multiple'; type: string; length: number },
  headers: Headers,
): void {
  switch (body.kind) {
    case 'full':
      sendHead(outgoing, statuses.ok, { ...headers, 'Content-Length': size });
      return;
    case 'single': {
      const { range } = body;
      sendHead(outgoing, statuses.partial, {
        ...headers,
        'Content-Length': range.end - range.start,
        'Content-Range': contentRange(range, size),
      });
      return;
    }
    case 'multiple':
      sendHead(outgoing, statuses.partial, {
        ...headers,
        'Content-Length': body.length,
        'Content-Type': body.type,
      });
      return;
    default:
      body satisfies never;
  }
}

/**
 * Answers with an OCI error body (distribution-spec, "Error Codes"). Once a body has begun the only signal left
 * is to break the connection, since anything appended would become part of the blob.
 */
export function sendError(
  { incoming, outgoing }: { incoming: IncomingMessage; outgoing: ServerResponse },
  error: OciError,
  headers: Headers = {},
): void {
  if (outgoing.headersSent) {
    outgoing.destroy();
    return;
  }
  const body = errorBody(error);
  const status = statusOf(error, incoming.method);
  sendHead(outgoing, status, {
    // RFC 9110, section 15.5.6: it belongs to this status.
    Allow: status === statusOfCode.UNSUPPORTED ? 'GET, HEAD' : undefined,
    ...headers,
    'Content-Type': 'application/json',
    'Content-Length': Buffer.byteLength(body),
    'Cache-Control': 'no-store',
    'Retry-After': error.retryAfter,
  });
  outgoing.end(incoming.method === 'HEAD' ? undefined : body);
}

/** The same answer as {@link sendError}'s, for a route that returns a response. */
export function errorResponse(error: OciError, method: string): Response {
  const headers = new globalThis.Headers({ 'Content-Type': 'application/json', 'Cache-Control': 'no-store' });
  if (error.retryAfter !== undefined) headers.set('Retry-After', String(error.retryAfter));
  return new Response(errorBody(error), { status: statusOf(error, method), headers });
}

function errorBody(error: OciError): string {
  const detail = error.detail === undefined ? {} : { detail: error.detail };
  return JSON.stringify({ errors: [{ code: error.code, message: error.message, ...detail }] });
}

function statusOf(error: OciError, method: string | undefined): number {
  // What a pull finds invalid or unsupported came from upstream: the request itself was right.
  const pulling = method === 'GET' || method === 'HEAD';
  if (pulling && error.code === 'MANIFEST_INVALID') return 502;
  if (pulling && error.code === 'UNSUPPORTED') return 404;
  return statusOfCode[error.code];
}
