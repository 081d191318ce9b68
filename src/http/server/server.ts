import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createTlsServer, type Server as TlsServer } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import { getRequestListener } from '@hono/node-server';
import type { Hono } from 'hono';
import { delay } from '../../lib/abort.ts';
import type { Tell } from '../../lib/facts.ts';
import type { Log } from '../../lib/log.ts';
import { OciError } from '../../oci/errors.ts';
import { beginExchange, type Exchange } from '../exchange.ts';
import type { RegistryApi } from '../registry/registry-api.ts';
import type { RequestFact } from '../request-facts.ts';
import { type Headers, plainHttpRefusal, sendError } from '../respond.ts';
import { cutWhenStalled } from '../stalled-client.ts';
import { drain, releaseWhenClosing } from './drain.ts';
import { TlsContext, type TlsFiles } from './tls-context.ts';

/** Milliseconds for which a client may keep an unused connection: longer than the pools of common clients do. */
const keepAlive = 90_000;

/** Milliseconds within which a request's head must have arrived. */
const slowestHead = 20_000;

const connectionOptions = {
  keepAliveTimeout: keepAlive,
  headersTimeout: slowestHead,
  requestTimeout: slowestHead,
  noDelay: true,
} as const;

/** Milliseconds within which a TLS handshake must be done. */
const slowestHandshake = 20_000;

/** Whether a path is the registry's: below `/v2`, or below a mirror path. */
const registryPath = /^\/(?:[^/?]+\/)?v2(?:[/?]|$)/;

/** What a server works with. */
type HttpServerDeps = {
  /** What serves requests; each reads it once, when it comes. */
  current(): { readonly registry: RegistryApi; readonly operations: Hono };
  log: Log;
  facts: Tell<RequestFact>;
};

type HttpServerOptions = {
  readonly drainTimeout: number;
  readonly drainDelay: number;
  readonly writeStallTimeout: number;
  readonly tls?: TlsFiles | undefined;
};

/**
 * The HTTP server, over TLS when it has a certificate. Registry requests go to the registry API with the path
 * exactly as it was sent, so that nothing normalises what the parser must judge; the rest goes to the app of
 * operations routes.
 */
export class HttpServer {
  readonly #deps: HttpServerDeps;
  readonly #drain: number;
  readonly #delay: number;
  readonly #stall: number;
  readonly #server: Server | TlsServer;
  readonly #tls: TlsContext | undefined;
  #draining = false;

  /**
   * @param options.drainTimeout milliseconds that requests under way get to end when the server closes
   * @param options.drainDelay milliseconds that it serves on for when it retires
   * @param options.writeStallTimeout milliseconds after which a client that takes no byte of an answer is cut off
   * @param options.tls serve HTTPS with this certificate, followed as its files change
   */
  constructor(deps: HttpServerDeps, options: HttpServerOptions) {
    this.#deps = deps;
    this.#drain = options.drainTimeout;
    this.#delay = options.drainDelay;
    this.#stall = options.writeStallTimeout;
    const operations = getRequestListener((request, env) => deps.current().operations.fetch(request, env), {
      overrideGlobalObjects: false,
    });
    const listener = (incoming: IncomingMessage, outgoing: ServerResponse) => {
      if (this.#draining) outgoing.setHeader('Connection', 'close');
      if (registryPath.test(incoming.url ?? '')) {
        void this.#answer(incoming, outgoing);
        return;
      }
      cutWhenStalled(outgoing, this.#stall);
      void operations(incoming, outgoing);
    };
    const { log } = deps;
    if (options.tls === undefined) {
      this.#server = createServer(connectionOptions, listener);
    } else {
      const server = tlsServer(listener, log);
      this.#server = server;
      const apply = server.setSecureContext.bind(server);
      this.#tls = new TlsContext({ log, apply }, options.tls);
    }
    releaseWhenClosing(this.#server);
  }

  /** Whether the server is stopping. It still answers, and says on `/readyz` that it should get no new work. */
  get draining(): boolean {
    return this.#draining;
  }

  /**
   * Starts to listen; resolves to the address in use (which matters when `port` is 0).
   * @throws TlsFilesError when the certificate and key are not usable
   */
  async start(listen: { host: string; port: number }): Promise<{ host: string; port: number }> {
    await this.#tls?.start();
    return new Promise((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen(listen, () => {
        this.#server.off('error', reject);
        const { address, port } = this.#server.address() as AddressInfo;
        resolve({ host: address, port });
      });
    });
  }

  /**
   * Says that it should get no new work, and serves all that comes for the drain delay, so that whoever sends it here
   * learns of that before connections are refused. `signal` ends the delay early.
   */
  async retire(signal: AbortSignal): Promise<void> {
    this.#draining = true;
    if (this.#delay > 0) await delay(this.#delay, signal).catch(() => undefined);
  }

  /** Takes no new connections, lets requests under way end within the drain time, then cuts them off. */
  async close(): Promise<void> {
    this.#draining = true;
    try {
      await this.#tls?.close();
    } finally {
      await drain(this.#server, this.#drain);
    }
  }

  async #answer(incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
    const exchange = beginExchange(incoming, outgoing);
    const started = performance.now();
    outgoing.once('close', () => {
      exchange.facts.because ??= outgoing.errored?.message;
      this.#deps.facts.tell({ kind: 'request-ended', exchange, ms: performance.now() - started });
    });
    try {
      await this.#deps.current().registry.handle(exchange);
    } catch (error) {
      this.#fail(exchange, error);
    }
    // The system took most answers whole at once: a timer for each would cost more than sending it did.
    if (!outgoing.writableFinished && !outgoing.destroyed) cutWhenStalled(outgoing, this.#stall);
  }

  #fail(exchange: Exchange, error: unknown): void {
    const { facts, outgoing } = exchange;
    if (outgoing.destroyed) {
      facts.because ??= outgoing.errored?.message ?? 'the client went away';
      return;
    }
    const known = error instanceof OciError ? error : undefined;
    if (known === undefined) {
      const cause = error instanceof Error ? (error.stack ?? error.message) : String(error);
      this.#deps.log.error({ route: facts.route, image: facts.image, cause }, 'request failed');
    }
    const told = known ?? new OciError('UNKNOWN', 'the mirror failed; its log says why', { cause: error });
    facts.error = told.code;
    facts.because = told.message;
    sendError(exchange, told, errorHeaders(told));
  }
}

/** Without a certificate yet. HTTP/1.1 only, TLS 1.2 at least; session tickets spare clients that dial often. */
function tlsServer(
  listener: (incoming: IncomingMessage, outgoing: ServerResponse) => void,
  log: Log,
): TlsServer {
  const options = { ...connectionOptions, ALPNProtocols: ['http/1.1'], handshakeTimeout: slowestHandshake };
  const server = createTlsServer(options, listener);
  server.on('tlsClientError', (error: NodeJS.ErrnoException, socket) => {
    log.debug({ client: socket.remoteAddress, code: error.code }, 'TLS handshake failed');
    // The connection below the TLS socket: only there can a client without TLS be told anything.
    const { _parent: connection } = socket as { _parent?: Socket };
    if (error.code === 'ERR_SSL_HTTP_REQUEST') connection?.end(plainHttpRefusal);
  });
  return server;
}

function errorHeaders({ code, detail }: OciError): Headers {
  if (code === 'RANGE_INVALID') return { 'Content-Range': `bytes */${detail?.['size']}` };
  return {};
}
