import type { MessagePort } from 'node:worker_threads';
import type { Interval } from '../../lib/range-set.ts';
import type { Digest, DigestAlgorithm } from '../../oci/digest.ts';
import type { FetchResult } from '../../upstream/result.ts';
import type { WireRequest } from '../../upstream/wire/messages.ts';

/** One GET of a lane. */
export type LaneRequest = {
  /** The lane, by its place in the fill's progress. */
  readonly slot: number;
  readonly request: WireRequest;
  /** The first byte asked for. */
  readonly start: number;
  /** Whether an answer that begins before `start` is read and dropped up to there. */
  readonly maySkip: boolean;
  /** The memories of the bandwidth limits to keep. */
  readonly budgets: readonly SharedArrayBuffer[];
};

/** Called when a body begins: with the blob's size where that is declared, and the answer's headers. */
export type LaneBegun = (total: number | undefined, headers: Readonly<Record<string, string>>) => void;

/** What the main thread asks of a fill worker: `fill` names the fill, `call` the request, which its replies repeat. */
export type FillCommand = { readonly fill: number; readonly call: number } & (
  | {
      readonly kind: 'open';
      readonly path: string;
      readonly digest: Digest;
      /** Bytes: the blob's size when known, else the most that is accepted. */
      readonly limit: number;
      readonly sizeKnown: boolean;
      /** The memory of the fill's `FillProgress`. */
      readonly progress: SharedArrayBuffer;
      /** Leads to the worker that hashes the file, if that is another one. */
      readonly hasher: MessagePort | undefined;
    }
  /** Hashes the file of another worker's fill, for whoever has the other end of the port. There is no reply. */
  | {
      readonly kind: 'hash';
      readonly path: string;
      readonly algorithm: DigestAlgorithm;
      readonly port: MessagePort;
    }
  | ({ readonly kind: 'fetch' } & LaneRequest)
  | { readonly kind: 'stop-fetch'; readonly slot: number }
  | { readonly kind: 'verify' }
  | { readonly kind: 'digests'; readonly ranges: readonly Interval[] }
  | { readonly kind: 'reset' }
  | { readonly kind: 'close' }
);

/** What a fill worker answers. Failures of the disk travel as `failed`, with the system's error code. */
export type FillReply = { readonly fill: number; readonly call: number } & (
  | { readonly kind: 'opened'; readonly arrived: readonly Interval[] }
  /** The answer to a fetch has begun; `total` is the whole blob's size where it is declared. */
  | {
      readonly kind: 'begun';
      readonly total: number | undefined;
      readonly headers: Readonly<Record<string, string>>;
    }
  | { readonly kind: 'fetched'; readonly result: FetchResult }
  | { readonly kind: 'verified'; readonly found: Digest | undefined }
  | { readonly kind: 'digests'; readonly digests: readonly string[] }
  | { readonly kind: 'done' }
  | { readonly kind: 'failed'; readonly code: string | undefined; readonly message: string }
);

/** A command or reply without the names that the transport puts on it. */
export type Unaddressed<T> = T extends unknown ? Omit<T, 'fill' | 'call'> : never;
