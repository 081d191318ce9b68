import type { Digest } from '../../oci/digest.ts';
import { OciError } from '../../oci/errors.ts';
import { derivedTags } from '../../oci/reference.ts';
import type { Admit } from '../../pull/admission/admit.ts';
import type { PullListings } from '../../pull/listings/listings.ts';
import type { ResolvedRepository } from '../../pull/repository.ts';
import type { WarmTally } from './warm-tally.ts';

/** Looks up what refers to the manifests of one image: signatures, SBOMs, attestations. */
export class WarmReferrers {
  readonly #deps: { readonly admit: Admit; readonly listings: PullListings; readonly tally: WarmTally };
  readonly #target: ResolvedRepository;
  #failed = false;

  constructor(
    deps: { admit: Admit; listings: PullListings; tally: WarmTally },
    options: { target: ResolvedRepository },
  ) {
    this.#deps = deps;
    this.#target = options.target;
  }

  /**
   * Records what upstream lists as referring to a digest, and fetches what the tags derived from it name.
   * @throws the signal's reason, and what is no `OciError`
   */
  async lookUp(subject: Digest, signal: AbortSignal): Promise<void> {
    const { admit, listings, tally } = this.#deps;
    const ask = { target: this.#target, signal };
    await this.#ifThere(signal, async () => {
      await listings.referrers({ ...ask, reference: { kind: 'digest', digest: subject } }, undefined);
    });
    for (const tag of derivedTags(subject)) {
      await this.#ifThere(signal, async () => {
        const admitted = await admit.manifest({ ...ask, reference: { kind: 'tag', tag } });
        if (admitted.kind === 'allow') tally.addManifest(admitted.answer);
      });
    }
  }

  /**
   * Most images have no referrers: that there is none is no failure. Any other is a warning, after which no more are
   * looked up, since an upstream that limits or refuses requests does not want more of them.
   */
  async #ifThere(signal: AbortSignal, work: () => Promise<void>): Promise<void> {
    if (this.#failed) return;
    try {
      await work();
    } catch (error) {
      signal.throwIfAborted();
      if (!(error instanceof OciError)) throw error;
      if (error.code === 'MANIFEST_UNKNOWN' || error.code === 'NAME_UNKNOWN' || this.#failed) return;
      this.#failed = true;
      this.#deps.tally.warn(`signatures and SBOMs may be missing: ${error.message}`);
    }
  }
}
