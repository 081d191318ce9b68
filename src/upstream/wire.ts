import type { LookupFunction } from 'node:net';
import { Egress, type EgressRule } from './egress.ts';
import { TrustRoots } from './trust-roots.ts';
import type { WireConnection } from './wire-connection.ts';
import { DialError, dial } from './wire-dial.ts';
import { WirePool } from './wire-pool.ts';
import { parseTarget, type WireTarget } from './wire-target.ts';

/** One GET, as plain data that can be posted to a worker. Times in milliseconds. */
export type WireRequest = {
  readonly url: string;
  /** Sent as they are; `Host`, `Accept-Encoding` and everything about framing is the wire's own. */
  readonly headers: Readonly<Record<string, string>>;
  /** Where a connection may lead. */
  readonly egress: EgressRule;
  /** PEM certificates that are trusted besides the default roots. */
  readonly ca?: string;
  /** The HTTP proxy to go through; credentials in its URL are sent to it alone. */
  readonly proxy?: { readonly url: string };
  /** For the name lookup, TCP, the proxy's tunnel and TLS together. */
  readonly connectTimeout: number;
  /** From the request being sent to the end of the response head. */
  readonly headersTimeout: number;
  /** The longest pause within a body; time that the sink takes does not count. */
  readonly stallTimeout: number;
};

/** A response head: lower-cased names, repeated fields joined with `, `. */
export type WireResponseHead = {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  /** The body's length where it is declared by `Content-Length`. */
  readonly length: number | undefined;
};

/** Receives one response. What it throws ends the connection and rejects `get`. */
export type BodySink = {
  /** Decides on the body: `read` hands it to `chunk`, `collect` returns the first 64 KiB of it in the result. */
  head(head: WireResponseHead): 'read' | 'collect';
  /**
   * Takes the next bytes, which are valid only until this returns or its promise settles. A promise applies
   * back-pressure; there is never more than one call under way, and none once `get` has settled.
   */
  chunk(bytes: Buffer): void | Promise<void>;
};

/** How a GET ended without a whole response; `bytes` counts what the sink was given. */
export type WireFailure = {
  readonly kind: 'failed';
  readonly phase: 'connect' | 'headers' | 'body';
  /** `forbidden`: the connection was not opened, for where it would have led. */
  readonly reason: 'refused' | 'timeout' | 'stall' | 'cut' | 'tls' | 'malformed' | 'reset' | 'forbidden';
  readonly head?: WireResponseHead;
  readonly bytes: number;
  /** A plain clause without secrets, for a log line or an error. */
  readonly message: string;
};

/** How a GET ended. */
export type WireResult =
  | { readonly kind: 'complete'; readonly head: WireResponseHead; readonly bytes: number }
  | { readonly kind: 'collected'; readonly head: WireResponseHead; readonly body: Buffer }
  | WireFailure;

/**
 * A strict HTTP/1.1 GET client for large bodies (RFC 9112): plain sockets, one reused buffer each, a small
 * keep-alive pool. It follows nothing, retries only a reused connection that died unused, and always verifies TLS.
 */
export class Wire {
  readonly #pool: WirePool;
  readonly #roots = new TrustRoots();
  readonly #lookup: LookupFunction | undefined;

  /**
   * At most `maxIdlePerOrigin` (4) connections are kept open per destination, for `idleTimeout` ms (15 s). `lookup`
   * is the system's name lookup unless given.
   */
  constructor(options: { maxIdlePerOrigin?: number; idleTimeout?: number; lookup?: LookupFunction } = {}) {
    this.#lookup = options.lookup;
    this.#pool = new WirePool({
      maxIdlePerOrigin: options.maxIdlePerOrigin ?? 4,
      idleTimeout: options.idleTimeout ?? 15_000,
    });
  }

  /**
   * Runs one GET. Failures of the network or the peer are results; rejects with the signal's reason on abort,
   * with what the sink threw, and with a `TypeError` for a request that cannot be sent.
   */
  async get(request: WireRequest, sink: BodySink, signal: AbortSignal): Promise<WireResult> {
    signal.throwIfAborted();
    const target = parseTarget(request);
    const idle = this.#pool.take(target.key);
    if (idle) {
      const { result, untouched } = await this.#exchange(idle, target, request, sink, signal);
      if (!untouched) return result;
    }
    let fresh: WireConnection;
    try {
      const parts = { roots: this.#roots, egress: new Egress(target.egress, this.#lookup) };
      fresh = await dial(target, parts, request.connectTimeout, signal);
    } catch (error) {
      signal.throwIfAborted();
      if (!(error instanceof DialError)) throw error;
      return { kind: 'failed', phase: 'connect', reason: error.reason, bytes: 0, message: error.message };
    }
    return (await this.#exchange(fresh, target, request, sink, signal)).result;
  }

  /** Closes the idle connections; those in use close when their response ends. */
  close(): void {
    this.#pool.close();
  }

  async #exchange(
    connection: WireConnection,
    target: WireTarget,
    request: WireRequest,
    sink: BodySink,
    signal: AbortSignal,
  ): Promise<{ result: WireResult; untouched: boolean }> {
    const outcome = await connection.exchange(target.request, request, sink, signal);
    if (connection.reusable) this.#pool.put(target.key, connection);
    else connection.destroy();
    return outcome;
  }
}
