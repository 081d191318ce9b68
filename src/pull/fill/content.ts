import type { CacheOutcome } from '../repository.ts';

/** A blob's bytes, whether they are on disk or still arriving. */
export type BlobContent = {
  /** Bytes. */
  readonly size: number;
  readonly outcome: CacheOutcome;
  /** The upstreams that a fill is being fetched from, so far. */
  readonly upstream: string | undefined;
  /** Which upstreams brought how many bytes, and why the first was chosen, where this answer needed any. */
  readonly origin:
    | { readonly upstreams: Readonly<Record<string, number>>; readonly because: string }
    | undefined;
  /** Milliseconds that the first upstream took to begin, where one was asked. */
  readonly firstByteMs: number | undefined;
  /**
   * Reads up to `length` bytes at `position` (below `size`) into the start of `buffer`, waiting until at least
   * one is there. Rejects with the fill's failure, or with the signal's reason.
   */
  read(buffer: Buffer, length: number, position: number, signal: AbortSignal): Promise<number>;
  /** Must be called exactly once. */
  close(): Promise<void>;
};
