import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Reference } from '../oci/reference.ts';
import type { Ask, CacheOutcome, ResolvedRepository } from '../pull/repository.ts';

/** What the log line and the metrics of one request say; handlers fill it in as they learn it. */
export type Facts = {
  route: string;
  image: string | undefined;
  reference: string | undefined;
  outcome: CacheOutcome | undefined;
  upstream: string | undefined;
  /** Bytes by upstream, of a blob that was not here. */
  upstreams: Readonly<Record<string, number>> | undefined;
  /** The user whose login let the request in. */
  user: string | undefined;
  /** Why a request was refused or answered stale. */
  because: string | undefined;
  /** The code of the error that was sent. */
  error: string | undefined;
  /** Body bytes handed to the connection. */
  bytes: number;
};

/** One request and its response. */
export type Exchange = {
  readonly incoming: IncomingMessage;
  readonly outgoing: ServerResponse;
  readonly facts: Facts;
  /** When it began, on the clock of `performance.now`. */
  readonly startedAt: number;
  /** Aborts when the client goes away. */
  readonly signal: AbortSignal;
};

/** Begins an exchange. The signal is made on first use, since most answers never wait. */
export function beginExchange(incoming: IncomingMessage, outgoing: ServerResponse): Exchange {
  let controller: AbortController | undefined;
  outgoing.once('close', () => {
    if (!outgoing.writableFinished) controller?.abort(new Error('the client went away'));
  });
  return {
    incoming,
    outgoing,
    startedAt: performance.now(),
    facts: {
      route: 'unknown',
      image: undefined,
      reference: undefined,
      outcome: undefined,
      upstream: undefined,
      upstreams: undefined,
      user: undefined,
      because: undefined,
      error: undefined,
      bytes: 0,
    },
    get signal() {
      controller ??= new AbortController();
      if (outgoing.destroyed && !outgoing.writableFinished)
        controller.abort(new Error('the client went away'));
      return controller.signal;
    },
  };
}

/** What a client asks for. Its signal is the exchange's, made on first use as well. */
export function askOf<R extends Reference | undefined>(
  exchange: Exchange,
  target: ResolvedRepository,
  reference: R,
): Ask<R> {
  return {
    target,
    reference,
    get signal() {
      return exchange.signal;
    },
  };
}

/** The value of a request header that may not be repeated. */
export function header(incoming: IncomingMessage, name: string): string | undefined {
  const value = incoming.headers[name];
  return Array.isArray(value) ? value[0] : value;
}
