import type { EgressRule } from '../egress/egress.ts';

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
