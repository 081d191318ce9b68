import type { Digest, DigestAlgorithm } from '../../oci/digest.ts';

/** What the digest thread is told about one stream of bytes, which `id` names. */
export type DigestCommand = { readonly id: number } & (
  | {
      /** Bytes are to come, to be hashed, and to be written to a new file at `path` where there is one. */
      readonly kind: 'begin';
      readonly algorithm: DigestAlgorithm;
      readonly path: string | undefined;
    }
  | {
      /** The next bytes: the first `length` of a buffer that is handed over, and comes back. */
      readonly kind: 'bytes';
      readonly buffer: ArrayBuffer;
      readonly length: number;
    }
  /** All bytes have come. */
  | { readonly kind: 'end' }
  /** No more bytes come, and nobody wants the digest. */
  | { readonly kind: 'drop' }
);

/** What the digest thread says about a stream. */
export type DigestReply = { readonly id: number } & (
  | { readonly kind: 'taken'; readonly buffer: ArrayBuffer }
  | { readonly kind: 'ended'; readonly digest: Digest }
  | { readonly kind: 'dropped' }
  /** The file cannot be written: the stream is over. */
  | { readonly kind: 'failed'; readonly code: string | undefined; readonly message: string }
);
