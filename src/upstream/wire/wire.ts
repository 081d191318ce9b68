import type { LookupFunction } from 'node:net';
import { Egress } from '../egress/egress.ts';
import { TrustRoots } from '../egress/trust-roots.ts';
import type { WireConnection } from './connection.ts';
import { DialError, dial } from './dial.ts';
import type { BodySink, WireRequest, WireResult } from './messages.ts';
import { WirePool } from './pool.ts';
import { parseTarget, type WireTarget } from './target.ts';

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
    this.#pool.put(target.key, connection);
    return outcome;
  }
}
