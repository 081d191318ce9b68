import type { Digest } from '../../oci/digest.ts';
import { OciError } from '../../oci/errors.ts';
import type { ManifestAnswer } from '../../pull/manifests/answer.ts';
import type { ImageState } from '../images/images.ts';
import type { ImagePart } from '../images/walk.ts';

/** Counts what is fetched for one image, and keeps what goes wrong with its parts. */
export class WarmTally {
  readonly #failures = new Map<Digest, string>();
  readonly #warnings = new Set<string>();
  #fetched = 0;
  #bytes = 0;

  /** Manifests and blobs that were fetched for the image. */
  get fetched(): number {
    return this.#fetched;
  }

  /** Bytes of those. */
  get bytes(): number {
    return this.#bytes;
  }

  /** What went wrong with what refers to the image. */
  get warnings(): readonly string[] {
    return [...this.#warnings];
  }

  /** Counts a blob of `bytes` bytes that was fetched. */
  addBlob(bytes: number): void {
    this.#fetched += 1;
    this.#bytes += bytes;
  }

  /** Counts a manifest, if it was fetched for this answer. */
  addManifest({ outcome, manifest }: ManifestAnswer): void {
    if (outcome === 'miss') this.addBlob(manifest.bytes.length);
  }

  /** Keeps a warning; the same one is kept once. */
  warn(message: string): void {
    this.#warnings.add(message);
  }

  /**
   * Keeps the failure of one part, so that the others go on. What refers to the image is no part that it needs.
   * @throws the signal's reason, and what is no `OciError`
   */
  async attempt(
    { digest, role }: Pick<ImagePart, 'digest' | 'role'>,
    signal: AbortSignal,
    work: () => Promise<void>,
  ): Promise<void> {
    try {
      await work();
    } catch (error) {
      signal.throwIfAborted();
      if (!(error instanceof OciError)) throw error;
      if (role === 'referrer') this.warn(error.message);
      else this.#failures.set(digest, error.message);
    }
  }

  /** Why the image is not all here; `undefined` when it is. */
  problemOf(state: ImageState): string | undefined {
    if (state.lacking.length > 0) {
      const has = state.platforms.join(', ');
      return `it has no image for ${state.lacking.join(', ')}: its platforms are ${has}`;
    }
    const [failure, ...others] = new Set(this.#failures.values());
    if (failure !== undefined) {
      return others.length === 0 ? failure : `${failure} (and ${others.length} more)`;
    }
    return state.whole ? undefined : 'parts of it are missing: run it again';
  }
}
