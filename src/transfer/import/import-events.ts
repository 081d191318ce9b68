import type { Digest } from '../../oci/digest.ts';
import type { Receipt } from '../bundle/receipt.ts';

/** One image that an import brought. */
export type ImportedImage = {
  /** `registry/repository:tag`, or with the digest where there is no tag. */
  readonly image: string;
  readonly digest: Digest;
  /** What its tag was served as before, where that was something else. */
  readonly before: Digest | undefined;
  /** Whether its tag is held at another digest here: it stays there until it is released. */
  readonly held: boolean;
  /**
   * Whether its manifest was made here, of what `docker save` had written: its digest is not the one that the registry
   * has for the image.
   */
  readonly made: boolean;
  /** Whether it is only there because it refers to another image. */
  readonly referrer: boolean;
};

/** The result of an import. */
export type ImportSummary = {
  readonly images: readonly ImportedImage[];
  /** Blobs that were written, and their bytes. */
  readonly stored: number;
  readonly bytes: number;
  /** Blobs of the archive that were stored before. */
  readonly present: number;
  /** The fingerprint of the key that signed the bundle. */
  readonly signedBy: string | undefined;
  readonly receipt: Receipt;
};

/** What is told while an archive is imported. */
export type ImportEvent =
  | {
      /** A bundle says what it holds; the bytes are those of its blobs that are not stored here yet. */
      readonly kind: 'contents';
      readonly images: number;
      readonly blobs: number;
      readonly bytes: number;
    }
  | {
      readonly kind: 'blob';
      readonly digest: Digest;
      readonly size: number;
      readonly state: 'stored' | 'present';
    }
  | ({ readonly kind: 'done' } & ImportSummary)
  | { readonly kind: 'failed'; readonly code: string; readonly message: string };
