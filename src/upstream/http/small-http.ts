import type { LookupFunction } from 'node:net';
import { Agent, type Dispatcher, ProxyAgent, request } from 'undici';
import { abandonOnAbort } from '../../lib/abort.ts';
import { readUpTo } from '../../lib/read-bytes.ts';
import { Egress, type EgressRule } from '../egress/egress.ts';
import { type ProxyOptions, proxyFor } from '../egress/proxy-choice.ts';
import { TrustRoots } from '../egress/trust-roots.ts';
import { addressTimeout, endpointOf, proxyAuthorization } from '../wire/target.ts';
import { explain, SmallHttpError } from './small-http-error.ts';

/** A request for something small; nothing is followed, retried or remembered. */
export type SmallRequest = {
  readonly method: 'GET' | 'HEAD' | 'POST';
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string;
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

/** Times in milliseconds. */
type SmallHttpOptions = {
  /** PEM certificates that are trusted besides the default roots. */
  readonly ca?: string;
  /** Where connections may lead. */
  readonly egress: EgressRule;
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
  readonly #egress: Egress;
  readonly #roots = new TrustRoots();
  readonly #dispatchers = new Map<string, Dispatcher>();

  /** `lookup` is the system's name lookup unless given. */
  constructor(deps: { lookup?: LookupFunction | undefined }, options: SmallHttpOptions) {
    this.#options = options;
    this.#egress = new Egress(options.egress, deps.lookup);
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
    const either = AbortSignal.any([signal, deadline]);
    try {
      await abandonOnAbort(this.#egress.admit(endpointOf(wanted.url)), either);
      const response = await request(wanted.url, {
        method: wanted.method,
        headers: { 'user-agent': userAgent, 'accept-encoding': 'identity', ...wanted.headers },
        dispatcher: this.#dispatcher(wanted.url),
        signal: either,
        ...(wanted.body !== undefined && { body: wanted.body }),
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
    const trust = this.#roots.context(ca);
    const connect = {
      timeout: connectTimeout,
      autoSelectFamilyAttemptTimeout: addressTimeout,
      lookup: this.#egress.lookup,
      ...(trust && { secureContext: trust }),
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
    const { bytes, whole } = await readUpTo(body as AsyncIterable<Buffer>, limit);
    if (ok && !whole) throw tooLong;
    return bytes;
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
