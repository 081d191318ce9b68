import type { Digest } from '../../oci/digest.ts';
import type { ImagePart } from '../images/walk.ts';

/** How warming one image ended. */
export type WarmResult = {
  /** As it was named, in full: `registry/repository:tag` or `registry/repository@digest`. */
  readonly image: string;
  /**
   * `warmed`: all is here now, and was not before, or is another image; `unchanged`: all was here; `denied`: by policy;
   * `failed`: something is missing, or whether the tag moved could not be found out.
   */
  readonly result: 'warmed' | 'unchanged' | 'denied' | 'failed';
  /** What the image is now, where that is known. */
  readonly digest: Digest | undefined;
  /** What its tag was served as before, where it was known. */
  readonly before: Digest | undefined;
  /** Manifests and blobs that were fetched for it, and not at the same time for another. */
  readonly fetched: number;
  /** Bytes of those. */
  readonly bytes: number;
  /** Why it is denied or failed. */
  readonly message: string | undefined;
  /** What went wrong with what refers to the image, which does not count as a failure. */
  readonly warnings: readonly string[];
};

/** What is told while images are warmed. */
export type WarmEvent =
  | {
      /** What the image is made of is known. */
      readonly kind: 'image';
      readonly image: string;
      readonly digest: Digest;
      /** Blobs of the image itself. */
      readonly blobs: number;
      /** Bytes of those. */
      readonly bytes: number;
      /** Bytes of those that are not here yet. */
      readonly missing: number;
    }
  | {
      readonly kind: 'blob';
      readonly image: string;
      readonly digest: Digest;
      readonly role: ImagePart['role'];
      readonly platform: string | undefined;
      /** Bytes. */
      readonly size: number;
      /** Bytes that are here. */
      readonly arrived: number;
      /** Every blob that is not here is first `waiting`, for its turn; several images may tell of the same one. */
      readonly state: 'waiting' | 'arriving' | 'stored' | 'failed';
    }
  | ({ readonly kind: 'end' } & WarmResult)
  | ({ readonly kind: 'done' } & WarmSummary);

/** How warming several images ended. */
export type WarmSummary = {
  readonly warmed: number;
  readonly unchanged: number;
  readonly denied: number;
  readonly failed: number;
  /** Manifests and blobs that were fetched. */
  readonly fetched: number;
  /** Bytes of those. */
  readonly bytes: number;
};
