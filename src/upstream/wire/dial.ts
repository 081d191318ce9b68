import { connect as connectTcp, type LookupFunction, type Socket } from 'node:net';
import { connect as connectTls, type SecureContext } from 'node:tls';
import { abandonOnAbort } from '../../lib/abort.ts';
import { type Egress, EgressError } from '../egress/egress.ts';
import type { TrustRoots } from '../egress/trust-roots.ts';
import { WireConnection } from './connection.ts';
import { parseHead } from './head.ts';
import type { WireFailure } from './messages.ts';
import { addressTimeout, type Endpoint, serializeConnect, serverName, type WireTarget } from './target.ts';

/** A connection that could not be opened. */
export class DialError extends Error {
  readonly code = 'DIAL';
  readonly reason: WireFailure['reason'];

  constructor(reason: WireFailure['reason'], message: string, options: { cause?: unknown } = {}) {
    super(message, options);
    this.reason = reason;
  }
}

/**
 * Opens a connection to a target, through its proxy if it has one, with TLS verified against the target's host.
 * `egress` has to agree. Rejects with a {@link DialError}, or the signal's reason.
 */
export async function dial(
  target: WireTarget,
  { egress, roots }: { egress: Egress; roots: TrustRoots },
  timeout: number,
  signal: AbortSignal,
): Promise<WireConnection> {
  const deadline = AbortSignal.timeout(timeout);
  const either = AbortSignal.any([signal, deadline]);
  const connection = new WireConnection();
  const trust = target.endpoint.tls ? roots.context(target.ca) : undefined;
  try {
    await abandonOnAbort(egress.admit(target.endpoint), either);
    if (target.proxy && target.endpoint.tls) {
      const tunnel = await openTunnel(target.endpoint, target.proxy, either);
      const socket = await openTls(target.endpoint, { trust }, { socket: tunnel }, either);
      // Node ignores `onread` for TLS over a socket that it did not open itself.
      connection.attach(socket, true);
    } else {
      const endpoint = target.proxy?.endpoint ?? target.endpoint;
      const how = target.proxy ? {} : { trust, lookup: egress.lookup };
      const socket = await open(endpoint, how, connection.onread, either);
      connection.attach(socket, false);
    }
    return connection;
  } catch (error) {
    signal.throwIfAborted();
    if (deadline.aborted) throw new DialError('timeout', 'the connection could not be opened in time');
    if (error instanceof EgressError) throw new DialError('forbidden', error.message, { cause: error });
    throw error;
  }
}

type OnRead = WireConnection['onread'];
type Proxy = NonNullable<WireTarget['proxy']>;
/** Default where absent: the trust roots, the name lookup. */
type How = { readonly trust?: SecureContext | undefined; readonly lookup?: LookupFunction };
type TlsTransport = { readonly onread: OnRead } | { readonly socket: Socket } | undefined;

const patience = { autoSelectFamilyAttemptTimeout: addressTimeout };

function open(endpoint: Endpoint, how: How, onread: OnRead | undefined, signal: AbortSignal) {
  if (endpoint.tls) return openTls(endpoint, how, onread && { onread }, signal);
  const { host, port } = endpoint;
  const socket = connectTcp({
    host,
    port,
    noDelay: true,
    ...patience,
    ...(how.lookup && { lookup: how.lookup }),
    ...(onread && { onread }),
  });
  return connected(socket, 'connect', signal);
}

function openTls(
  endpoint: Endpoint,
  how: How,
  transport: TlsTransport,
  signal: AbortSignal,
): Promise<Socket> {
  const socket = connectTls({
    host: endpoint.host,
    port: endpoint.port,
    servername: serverName(endpoint.host),
    rejectUnauthorized: true,
    ALPNProtocols: ['http/1.1'],
    ...patience,
    ...(how.trust && { secureContext: how.trust }),
    ...(how.lookup && { lookup: how.lookup }),
    ...transport,
  });
  socket.setNoDelay(true);
  return connected(socket, 'secureConnect', signal);
}

/** Settles when the socket is ready; on failure or abort it is destroyed. */
function connected(socket: Socket, ready: 'connect' | 'secureConnect', signal: AbortSignal): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const settle = (error?: unknown) => {
      signal.removeEventListener('abort', onAbort);
      socket.off('error', onError);
      socket.off(ready, settle);
      // An error without a listener, after the outcome is decided, would end the process.
      socket.on('error', () => {});
      if (error === undefined) {
        resolve(socket);
      } else {
        socket.destroy();
        reject(error);
      }
    };
    const onAbort = () => settle(signal.reason);
    const onError = (error: Error) => settle(explain(error, ready === 'secureConnect'));
    socket.once('error', onError);
    socket.once(ready, () => settle());
    signal.addEventListener('abort', onAbort, { once: true });
    if (signal.aborted) onAbort();
  });
}

/** Asks a proxy for a tunnel (RFC 9110, section 9.3.6) and hands back its socket, paused and with nothing read ahead. */
async function openTunnel(endpoint: Endpoint, proxy: Proxy, signal: AbortSignal): Promise<Socket> {
  const socket = await open(proxy.endpoint, {}, undefined, signal);
  return new Promise((resolve, reject) => {
    let seen: Buffer = Buffer.alloc(0);
    const settle = (error?: unknown) => {
      signal.removeEventListener('abort', onAbort);
      socket.off('data', onData).off('close', onClose);
      if (error === undefined) resolve(socket.pause());
      else reject(error);
      if (error !== undefined) socket.destroy();
    };
    const onAbort = () => settle(signal.reason);
    const onClose = () => settle(new DialError('reset', 'the proxy closed the connection'));
    const onData = (bytes: Buffer) => {
      seen = Buffer.concat([seen, bytes]);
      try {
        const answer = parseHead(seen);
        if (answer) settle(judgeTunnel(answer.head.status, seen.length - answer.consumed));
      } catch (error) {
        settle(new DialError('malformed', 'the proxy did not answer in HTTP', { cause: error }));
      }
    };
    socket.on('data', onData).on('close', onClose);
    signal.addEventListener('abort', onAbort, { once: true });
    socket.write(serializeConnect(endpoint, proxy.authorization), 'latin1');
  });
}

function judgeTunnel(status: number, extra: number): DialError | undefined {
  if (status === 407) return new DialError('refused', 'the proxy asks for other credentials (407)');
  if (status < 200 || status > 299)
    return new DialError('refused', `the proxy refused the tunnel (${status})`);
  return extra === 0 ? undefined : new DialError('malformed', 'the proxy sent more than its answer');
}

const networkErrors: Readonly<Record<string, readonly [WireFailure['reason'], string]>> = {
  ECONNREFUSED: ['refused', 'the connection was refused'],
  ENOTFOUND: ['refused', 'the host name is not known'],
  EAI_AGAIN: ['refused', 'the host name could not be looked up'],
  EHOSTUNREACH: ['refused', 'the host cannot be reached'],
  ENETUNREACH: ['refused', 'the network cannot be reached'],
  EADDRNOTAVAIL: ['refused', 'no local address is available'],
  ETIMEDOUT: ['timeout', 'the connection timed out'],
  ECONNRESET: ['reset', 'the connection was reset'],
  ECONNABORTED: ['reset', 'the connection was reset'],
  EPIPE: ['reset', 'the connection was reset'],
};

function explain(error: Error, tls: boolean): DialError | EgressError {
  if (error instanceof EgressError) return error;
  const code = 'code' in error && typeof error.code === 'string' ? error.code : '';
  const known = networkErrors[code];
  if (known) return new DialError(known[0], known[1], { cause: error });
  if (tls) return new DialError('tls', `TLS failed (${code || error.message})`, { cause: error });
  return new DialError('refused', `the connection failed (${code || error.message})`, { cause: error });
}
