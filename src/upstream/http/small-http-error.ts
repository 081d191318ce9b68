import { errors } from 'undici';
import { EgressError } from '../egress/egress.ts';
import type { UpstreamErrorReason } from '../result.ts';

/** A request without a usable answer; the message is a plain clause without secrets. */
export class SmallHttpError extends Error {
  readonly code = 'SMALL_HTTP';
  readonly reason: UpstreamErrorReason;

  constructor(reason: UpstreamErrorReason, message: string, options: { cause?: unknown } = {}) {
    super(message, options);
    this.reason = reason;
  }
}

const known: Readonly<Record<string, readonly [UpstreamErrorReason, string]>> = {
  ECONNREFUSED: ['unreachable', 'the connection was refused'],
  ENOTFOUND: ['unreachable', 'the host name is not known'],
  EAI_AGAIN: ['unreachable', 'the host name could not be looked up'],
  EHOSTUNREACH: ['unreachable', 'the host cannot be reached'],
  ENETUNREACH: ['unreachable', 'the network cannot be reached'],
  ECONNRESET: ['unreachable', 'the connection was reset'],
  EPIPE: ['unreachable', 'the connection was reset'],
  ETIMEDOUT: ['timeout', 'the connection timed out'],
  UND_ERR_CONNECT_TIMEOUT: ['timeout', 'the connection could not be opened in time'],
  UND_ERR_HEADERS_TIMEOUT: ['timeout', 'no answer came in time'],
  UND_ERR_BODY_TIMEOUT: ['timeout', 'no more of the answer came in time'],
  UND_ERR_SOCKET: ['unreachable', 'the connection ended before the answer did'],
  UND_ERR_HEADERS_OVERFLOW: ['protocol', 'the response head is too long'],
  UND_ERR_RES_CONTENT_LENGTH_MISMATCH: ['protocol', 'the answer is not as long as it says'],
  UND_ERR_PRX_TLS: ['unreachable', 'TLS to the proxy failed'],
  UND_ERR_PRX_CONN: ['unreachable', 'the proxy closed the connection'],
  // What undici says when a proxy answers CONNECT with anything but 200; our own aborts never get here.
  UND_ERR_ABORTED: ['unreachable', 'the proxy refused the tunnel'],
};

/** What the failure of a request means. */
export function explain(error: unknown): SmallHttpError {
  if (error instanceof EgressError) return new SmallHttpError('egress', error.message, { cause: error });
  if (error instanceof errors.HTTPParserError) {
    // It carries what was received, which is nobody's business: it does not become the cause.
    return new SmallHttpError('protocol', 'the answer is not valid HTTP');
  }
  const code = codeOf(error);
  const [reason, message] = known[code] ?? guess(error, code);
  return new SmallHttpError(reason, message, { cause: error });
}

function guess(error: unknown, code: string): readonly [UpstreamErrorReason, string] {
  // OpenSSL's and Node's verification errors have no common prefix, but undici's and the system's do.
  if (/CERT|SSL|TLS|EPROTO|SIGNATURE|ISSUER/.test(code)) return ['tls', `TLS failed (${code})`];
  const name = error instanceof Error ? error.name : 'error';
  return ['unreachable', `the request failed (${code || name})`];
}

/** The code of an error or, where it has none of its own (`AggregateError`, wrappers), of what it holds. */
function codeOf(error: unknown): string {
  if (!(error instanceof Error)) return '';
  if ('code' in error && typeof error.code === 'string') return error.code;
  if (error instanceof AggregateError) return codeOf(error.errors[0]);
  return codeOf(error.cause);
}
