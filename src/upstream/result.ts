import type { Digest } from '../oci/digest.ts';
import type { WireFailure } from './wire/messages.ts';

/** What a registry was asked for; the first argument of `observe` and a field of every {@link UpstreamError}. */
export type UpstreamOp =
  | 'head-manifest'
  | 'get-manifest'
  | 'head-blob'
  | 'get-blob'
  | 'list-tags'
  | 'list-referrers'
  | 'may-pull'
  | 'token';

/**
 * Why an upstream gave no usable answer: it could not be reached, was too slow, failed TLS, broke the protocol,
 * answered with an unexpected status, does not know the method, sent content that is not what was asked for, redirected to where nothing
 * is had (or was denied there), led to a host that is not connected to, or demanded authentication in a way that is
 * not followed or that there are no credentials for.
 */
export type UpstreamErrorReason =
  | 'unreachable'
  | 'timeout'
  | 'tls'
  | 'protocol'
  | 'status'
  | 'method'
  | 'content'
  | 'redirect'
  | 'redirect-denied'
  | 'egress'
  | 'auth';

/**
 * A failure of one upstream; the message is a plain sentence about it that holds no secret and does not repeat
 * the upstream's name.
 */
export class UpstreamError extends Error {
  readonly code = 'UPSTREAM';
  readonly upstream: string;
  /** One of {@link UpstreamOp}, or what a caller of this room was doing. */
  readonly op: string;
  readonly reason: UpstreamErrorReason;

  constructor(
    message: string,
    options: { upstream: string; op: string; reason?: UpstreamErrorReason; cause?: unknown },
  ) {
    super(message, options.cause === undefined ? {} : { cause: options.cause });
    this.name = 'UpstreamError';
    this.upstream = options.upstream;
    this.op = options.op;
    this.reason = options.reason ?? 'content';
  }
}

/** Any answer but the content: what the upstream said, or that it said nothing usable. */
export type UpstreamRefusal =
  /** 404. */
  | { readonly kind: 'missing'; readonly upstream: string }
  /** 401 or 403, from the registry or its token endpoint, after authentication was tried. */
  | { readonly kind: 'denied'; readonly upstream: string; readonly status: number }
  /** 429; `retryAfter` in seconds. */
  | { readonly kind: 'limited'; readonly upstream: string; readonly retryAfter: number | undefined }
  /** Everything else: refused, timeout, TLS, 5xx, malformed, over-long, HTML where a manifest was due. */
  | { readonly kind: 'unavailable'; readonly upstream: string; readonly cause: UpstreamError };

/** An upstream's answer; `upstream` is the client's name. */
export type UpstreamResult<T> =
  | { readonly kind: 'ok'; readonly value: T; readonly upstream: string }
  | UpstreamRefusal;

/** What a HEAD of a manifest says. The digest is a hint; the bare media type is `''` when none was sent. */
export type ManifestHead = {
  readonly digest: Digest | undefined;
  readonly mediaType: string;
  readonly size: number | undefined;
};

/** A manifest's bytes as sent, with the bare media type they are to be read as; the digest is not verified. */
export type ManifestBody = {
  readonly bytes: Buffer;
  readonly mediaType: string;
  readonly digestHint: Digest | undefined;
};

/** A referrers index, its pages merged; `filtersApplied` is the `OCI-Filters-Applied` header. */
export type ReferrersBody = {
  readonly bytes: Buffer;
  readonly mediaType: string;
  readonly filtersApplied: string | undefined;
};

/** What became of one GET of a blob's bytes from `offset` on. */
export type FetchResult =
  /** The body was accepted and written. */
  | {
      readonly kind: 'body';
      /** The whole blob's size, where the answer declares it. */
      readonly total: number | undefined;
      /** Bytes written, not counting those before the offset. */
      readonly received: number;
      readonly ending: 'complete' | WireFailure;
    }
  /** Anything else, of which nothing was written; `refused` says why a 200 or 206 was not accepted. */
  | {
      readonly kind: 'answer';
      readonly status: number;
      readonly headers: Readonly<Record<string, string>>;
      readonly body: Uint8Array;
      readonly refused?: string | undefined;
    }
  /** No answer. */
  | WireFailure;

/** The bytes of a blob that are asked for: from `start` up to but not including `end`, or to its end. */
export type BlobRange = { readonly start: number; readonly end?: number | undefined };

/** A transfer whose body was accepted; `received` bytes of it were written, from the offset on. */
export type BlobTransfer =
  /** Everything that this answer promised; less than the blob when a 206 was cut short on purpose. */
  | { readonly ending: 'complete'; readonly total: number | undefined; readonly received: number }
  /** It broke off: continue at offset + `received`. `total` is the whole blob's size where it was declared. */
  | {
      readonly ending: 'broken';
      readonly total: number | undefined;
      readonly received: number;
      readonly reason: WireFailure['reason'];
      readonly message: string;
    };
