import { Agent, type Dispatcher, errors, ProxyAgent, request } from 'undici';
import { type ProxyOptions, proxyFor } from './proxy-choice.ts';
import type { UpstreamErrorReason } from './result.ts';
import { addressTimeout, proxyAuthorization } from './wire-target.ts';

/** A request for something small; nothing is followed, retried or remembered. */
export type SmallRequest = {
  readonly method: 'GET' | 'HEAD';
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  /** A longer 2xx body is a failure; a longer body of another status is cut. */
  readonly maxBytes: number;
};

/** An answer in whole: lower-cased header names, repeated fields joined with `, `. */
export type SmallAnswer = {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer;
  /** Milliseconds from the request to the end of the head; opening a connection counts. */
  readonly firstByteMs: number;
};

/** A request without a usable answer; the message is a plain clause without secrets. */
export class SmallHttpError extends Error {
  readonly code = 'SMALL_HTTP';
  readonly reason: UpstreamErrorReason;

  constructor(reason: UpstreamErrorReason, message: string, options: { cause?: unknown } = {}) {
    super(message, options);
    this.reason = reason;
  }
}

/** Times in milliseconds. */
export type SmallHttpOptions = {
  readonly ca?: string;
  readonly connectTimeout: number;
  readonly headersTimeout: number;
  readonly stallTimeout: number;
  readonly proxy?: ProxyOptions;
  readonly userAgent: string;
};

/** Connections kept to one origin: small requests are short, and an upstream is not to be hammered. */
const connections = 32;

/** How much of a body that only explains a refusal is read. */
const maxRefusalBytes = 64 * 1024;

/** The client for everything but blob bodies: one pool of connections, and one for each outbound proxy. */
export class SmallHttp {
  readonly #options: SmallHttpOptions;
  readonly #dispatchers = new Map<string, Dispatcher>();

  constructor(options: SmallHttpOptions) {
    this.#options = options;
  }

  /**
   * Sends one request and reads its answer. Throws {@link SmallHttpError}, or the signal's reason. The whole takes
   * at most the three timeouts together, however slowly the bytes trickle.
   */
  async send(wanted: SmallRequest, signal: AbortSignal): Promise<SmallAnswer> {
    signal.throwIfAborted();
    const { connectTimeout, headersTimeout, stallTimeout, userAgent } = this.#options;
    const started = performance.now();
    const deadline = AbortSignal.timeout(connectTimeout + headersTimeout + stallTimeout);
    try {
      const response = await request(wanted.url, {
        method: wanted.method,
        headers: { 'user-agent': userAgent, 'accept-encoding': 'identity', ...wanted.headers },
        dispatcher: this.#dispatcher(wanted.url),
        signal: AbortSignal.any([signal, deadline]),
        headersTimeout,
        bodyTimeout: stallTimeout,
      });
      const firstByteMs = performance.now() - started;
      const headers = flatten(response.headers);
      const ok = response.statusCode >= 200 && response.statusCode < 300;
      const body = await readBody(response.body, wanted, ok, headers);
      return { status: response.statusCode, headers, body, firstByteMs };
    } catch (error) {
      signal.throwIfAborted();
      if (error instanceof SmallHttpError) throw error;
      if (deadline.aborted) throw new SmallHttpError('timeout', 'the answer took too long', { cause: error });
      throw explain(error);
    }
  }

  /** Ends every connection, those in use too. */
  async close(): Promise<void> {
    const all = [...this.#dispatchers.values()];
    this.#dispatchers.clear();
    await Promise.all(all.map((dispatcher) => dispatcher.destroy()));
  }

  #dispatcher(url: URL): Dispatcher {
    const proxy = proxyFor(url, this.#options.proxy);
    const key = proxy ?? '';
    const known = this.#dispatchers.get(key);
    if (known) return known;
    const { ca, connectTimeout } = this.#options;
    const connect = {
      timeout: connectTimeout,
      autoSelectFamilyAttemptTimeout: addressTimeout,
      ...(ca !== undefined && { ca }),
    };
    const shared = { connections, pipelining: 1, allowH2: false, connectTimeout };
    const made =
      proxy === undefined
        ? new Agent({ ...shared, connect })
        : new ProxyAgent({
            ...shared,
            ...proxyAddress(proxy),
            requestTls: connect,
            proxyTls: { timeout: connectTimeout },
          });
    this.#dispatchers.set(key, made);
    return made;
  }
}

function proxyAddress(text: string): { uri: string; token?: string } {
  const url = new URL(text);
  const token = proxyAuthorization(url);
  url.username = '';
  url.password = '';
  return { uri: url.href, ...(token !== undefined && { token }) };
}

/** The `Content-Length` of an answer, where it is a sane number of bytes. */
export function declaredLength(headers: SmallAnswer['headers']): number | undefined {
  const text = headers['content-length'] ?? '';
  return /^[0-9]{1,15}$/.test(text) ? Number(text) : undefined;
}

type Body = Dispatcher.ResponseData['body'];

async function readBody(
  body: Body,
  wanted: SmallRequest,
  ok: boolean,
  headers: SmallAnswer['headers'],
): Promise<Buffer> {
  if (wanted.method === 'HEAD') {
    await body.dump();
    return Buffer.alloc(0);
  }
  const limit = ok ? wanted.maxBytes : maxRefusalBytes;
  const tooLong = new SmallHttpError(
    'content',
    `the answer is longer than the ${limit} bytes that are accepted`,
  );
  try {
    if (ok && (declaredLength(headers) ?? 0) > limit) throw tooLong;
    if (ok && !/^(?:identity)?$/i.test(headers['content-encoding'] ?? '')) {
      throw new SmallHttpError('protocol', 'the answer is compressed although this was not asked for');
    }
    const chunks: Buffer[] = [];
    let size = 0;
    for await (const chunk of body as AsyncIterable<Buffer>) {
      size += chunk.length;
      chunks.push(chunk);
      if (size > limit && ok) throw tooLong;
      if (size > limit) break;
    }
    return Buffer.concat(chunks).subarray(0, limit);
  } finally {
    // A body that is left unread would keep its connection; destroying one that was read in whole does nothing.
    body.on('error', () => {}).destroy();
  }
}

function flatten(headers: Readonly<Record<string, string | string[] | undefined>>): Record<string, string> {
  const flat = Object.entries(headers).map(([name, value]): [string, string] => {
    return [name.toLowerCase(), Array.isArray(value) ? value.join(', ') : (value ?? '')];
  });
  return Object.fromEntries(flat);
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

function explain(error: unknown): SmallHttpError {
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
