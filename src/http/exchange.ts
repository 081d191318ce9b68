import type { IncomingMessage, ServerResponse } from 'node:http';
import type { CacheOutcome } from '../pull/registry.ts';

/** What the log line and the metrics of one request say; handlers fill it in as they learn it. */
export type Facts = {
  route: string;
  image: string | undefined;
  reference: string | undefined;
  outcome: CacheOutcome | undefined;
  upstream: string | undefined;
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
    facts: {
      route: 'unknown',
      image: undefined,
      reference: undefined,
      outcome: undefined,
      upstream: undefined,
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

/** The value of a request header that may not be repeated. */
export function header(incoming: IncomingMessage, name: string): string | undefined {
  const value = incoming.headers[name];
  return Array.isArray(value) ? value[0] : value;
}
