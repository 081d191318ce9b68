import type { Digest } from '../../oci/digest.ts';
import type { Admission } from '../../pull/admission/admission.ts';
import { type Images, type ImageTarget, imageTitle } from './images.ts';
import type { ImagePart } from './walk.ts';

/** Whether an image is here, and what of it is not. */
export type ImageStatus = {
  /** As it was named, in full: `registry/repository:tag` or `registry/repository@digest`. */
  readonly image: string;
  /** The digest that the name leads to here; `undefined` when nothing is known of it. */
  readonly digest: Digest | undefined;
  /** Whether it can be pulled from here without any upstream. */
  readonly whole: boolean;
  /** Why policy denies it, if it does. */
  readonly denied: string | undefined;
  /** `os/architecture[/variant]`, as far as known. */
  readonly platforms: readonly string[];
  /** Platforms that were asked for and that the image does not have. */
  readonly lacking: readonly string[];
  /** Manifests and blobs of the image itself, and their bytes. */
  readonly parts: number;
  readonly bytes: number;
  /** Those that are not stored. */
  readonly missing: readonly Omit<ImagePart, 'stored'>[];
  /** What is known to refer to it (signatures, SBOMs, attestations): manifests and blobs, stored and not. */
  readonly referrers: { readonly stored: number; readonly missing: number };
  /** When the last of what is stored came, in milliseconds since the epoch. */
  readonly storedAt: number | undefined;
};

/** Tells which images are stored here. No upstream is asked. */
export class Status {
  readonly #images: Images;
  readonly #admission: Pick<Admission, 'judge'>;

  constructor(deps: { images: Images; admission: Pick<Admission, 'judge'> }) {
    this.#images = deps.images;
    this.#admission = deps.admission;
  }

  /** @param platforms `os/architecture[/variant]`, without a variant any; empty: all of an index */
  async of(image: ImageTarget, platforms: readonly string[]): Promise<ImageStatus> {
    const state = await this.#images.state(image, platforms);
    const own = (state?.parts ?? []).filter(({ role }) => role !== 'referrer');
    const referrers = (state?.parts ?? []).filter(({ role }) => role === 'referrer');
    return {
      image: imageTitle(image),
      digest: state?.digest,
      whole: state?.whole ?? false,
      denied: await this.#denial(image, state?.digest),
      platforms: state?.platforms ?? [],
      lacking: state?.lacking ?? [],
      parts: own.length,
      bytes: own.reduce((sum, { size }) => sum + size, 0),
      missing: own.filter(({ stored }) => !stored).map(({ stored: _stored, ...part }) => part),
      referrers: {
        stored: referrers.filter(({ stored }) => stored).length,
        missing: referrers.filter(({ stored }) => !stored).length,
      },
      storedAt: state?.storedAt,
    };
  }

  async #denial({ target, reference }: ImageTarget, digest: Digest | undefined): Promise<string | undefined> {
    // No upstream is asked here: what is not known to be denied is not called so.
    const judgement = await this.#admission.judge(target, reference, { manifest: digest });
    return judgement.kind === 'deny' ? judgement.message : undefined;
  }
}
