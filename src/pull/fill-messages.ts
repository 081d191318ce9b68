import type { Digest } from '../oci/digest.ts';
import type { HopResult } from '../upstream/result.ts';
import type { WireRequest } from '../upstream/wire.ts';

/** What the main thread asks of a fill worker; `id` names the fill, and within it one request at a time is open. */
export type FillCommand =
  | {
      readonly kind: 'open';
      readonly id: number;
      readonly path: string;
      readonly digest: Digest;
      /** Bytes: the blob's size when known, else the most that is accepted. */
      readonly limit: number;
      readonly sizeKnown: boolean;
      /** One `BigInt64`: how many bytes from the start may be read by anyone; see {@link FillProgress}. */
      readonly progress: SharedArrayBuffer;
    }
  | { readonly kind: 'hop'; readonly id: number; readonly request: WireRequest; readonly offset: number }
  | { readonly kind: 'stop-hop'; readonly id: number }
  | { readonly kind: 'verify'; readonly id: number }
  | { readonly kind: 'reset'; readonly id: number }
  | { readonly kind: 'close'; readonly id: number };

/** What a fill worker answers. Failures of the disk travel as `failed`, with the system's error code. */
export type FillReply =
  | { readonly kind: 'opened'; readonly id: number; readonly written: number }
  | { readonly kind: 'size'; readonly id: number; readonly size: number }
  | { readonly kind: 'hopped'; readonly id: number; readonly result: HopResult; readonly written: number }
  | { readonly kind: 'verified'; readonly id: number; readonly found: Digest | undefined }
  | { readonly kind: 'done'; readonly id: number }
  | {
      readonly kind: 'failed';
      readonly id: number;
      readonly code: string | undefined;
      readonly message: string;
    };

/**
 * How far a fill may be read, shared between the worker that writes and the main thread that serves.
 * The last piece of a blob is held back until its digest is verified, and a small blob entirely, so that no
 * client ever has a complete wrong body.
 */
export class FillProgress {
  readonly shared: SharedArrayBuffer;
  readonly #front: BigInt64Array;

  constructor(shared: SharedArrayBuffer = new SharedArrayBuffer(8)) {
    this.shared = shared;
    this.#front = new BigInt64Array(shared);
  }

  /** Bytes from the start that may be read. */
  get front(): number {
    return Number(Atomics.load(this.#front, 0));
  }

  /** Publishes a new front and wakes who waits for one. */
  publish(front: number): void {
    Atomics.store(this.#front, 0, BigInt(front));
    Atomics.notify(this.#front, 0);
  }

  /** Wakes who waits although nothing changed. */
  wake(): void {
    Atomics.notify(this.#front, 0);
  }

  /** Resolves when the front is no longer `seen`, or on {@link FillProgress.wake}. */
  async changed(seen: number): Promise<void> {
    const { async, value } = Atomics.waitAsync(this.#front, 0, BigInt(seen));
    if (async) await value;
  }
}

/** A blob up to this many bytes is served only once verified; of a larger one the last piece is held back. */
const servedWhole = 4 * 1024 * 1024;
const heldBack = 512 * 1024;

/** How much of `written` bytes may be read before the digest is verified. */
export function readable(written: number, size: number): number {
  return size <= servedWhole ? 0 : Math.max(0, Math.min(written, size - heldBack));
}
