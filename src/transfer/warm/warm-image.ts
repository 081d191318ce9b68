import { eachAtOnce, type Turns } from '../../lib/turns.ts';
import type { Digest } from '../../oci/digest.ts';
import { OciError } from '../../oci/errors.ts';
import { derivedTags, type Reference } from '../../oci/reference.ts';
import type { Admission, Admitted } from '../../pull/admission/admission.ts';
import type { Fills } from '../../pull/blobs/fills.ts';
import type { PullListings } from '../../pull/listings/listings.ts';
import type { ManifestAnswer } from '../../pull/manifests/answer.ts';
import type { PullManifests } from '../../pull/manifests/manifests.ts';
import { isClosed, requireUpstreams } from '../../pull/source.ts';
import type { BlobStore } from '../../store/blob-store.ts';
import type { Images } from '../images/images.ts';
import { type ImageState, type ImageTarget, imageTitle } from '../images/images.ts';
import type { ImagePart } from '../images/walk.ts';
import { type TellBlob, warmBlob } from './warm-blob.ts';
import type { WarmEvent, WarmResult } from './warm-events.ts';

/** What warming works with. */
export type WarmDeps = {
  readonly images: Images;
  readonly admission: Admission;
  readonly manifests: PullManifests;
  readonly listings: PullListings;
  readonly fills: Fills;
  readonly blobs: BlobStore;
};

/** What of an image is wanted. */
export type WarmOptions = {
  /** `os/architecture[/variant]`, without a variant any; empty: all. The index is kept as it is either way. */
  readonly platforms: readonly string[];
  /** Whether signatures, SBOMs and attestations come along; they do unless told otherwise. */
  readonly referrers?: boolean;
};

/** Manifests of one image that are asked for at once. */
const manifestsAtOnce = 4;

/** Warms one image; used once. */
export class WarmImage {
  readonly #image: ImageTarget;
  readonly #title: string;
  readonly #deps: WarmDeps & { readonly turns: Turns; readonly onEvent: (event: WarmEvent) => void };
  readonly #options: WarmOptions;
  /** Manifests and blobs that were asked for, whatever came of it. */
  readonly #tried = new Set<Digest>();
  readonly #failures = new Map<Digest, string>();
  readonly #warnings = new Set<string>();
  #lookUpFailed = false;
  #fetched = 0;
  #bytes = 0;

  constructor(
    image: ImageTarget,
    deps: WarmDeps & { readonly turns: Turns; readonly onEvent: (event: WarmEvent) => void },
    options: WarmOptions,
  ) {
    this.#image = image;
    this.#title = imageTitle(image);
    this.#deps = deps;
    this.#options = options;
  }

  /** As `Warm.run`. */
  async run(signal: AbortSignal): Promise<WarmResult> {
    const before = await this.#state();
    try {
      if (before?.whole && isClosed(this.#image.target.registry)) {
        return this.#end('unchanged', before, before.digest, undefined);
      }
      requireUpstreams(this.#image.target.registry);
      const found = await this.#first(signal);
      if (found.kind === 'deny') return this.#end('denied', before, undefined, found.message);
      const state = await this.#whole(signal);
      if (state === undefined) throw new OciError('MANIFEST_UNKNOWN', 'its manifest was not kept');
      const problem = this.#problemOf(state) ?? found.doubt;
      if (problem !== undefined) return this.#end('failed', before, state.digest, problem);
      const same = this.#fetched === 0 && before?.whole === true && before.digest === state.digest;
      return this.#end(same ? 'unchanged' : 'warmed', before, state.digest, undefined);
    } catch (error) {
      signal.throwIfAborted();
      if (!(error instanceof OciError)) throw error;
      return this.#end('failed', before, before?.digest, error.message);
    }
  }

  #end(
    result: WarmResult['result'],
    before: ImageState | undefined,
    digest: Digest | undefined,
    message: string | undefined,
  ): WarmResult {
    return {
      image: this.#title,
      result,
      digest,
      before: before?.digest,
      fetched: this.#fetched,
      bytes: this.#bytes,
      message,
      warnings: [...this.#warnings],
    };
  }

  /** The manifest that the image's name stands for, by the rules for whoever pulls it. */
  async #first(
    signal: AbortSignal,
  ): Promise<{ kind: 'ok'; doubt: string | undefined } | { kind: 'deny'; message: string }> {
    const { admission } = this.#deps;
    const { target, reference } = this.#image;
    const admitted = await this.#admit(reference, signal);
    if (admitted.kind === 'deny') return admitted;
    const { manifest, staleBecause } = await this.#pull(reference, signal, admitted);
    if (reference.kind === 'tag' && !admitted.certain) {
      const final = await admission.tag(target, reference.tag, manifest.digest, signal);
      if (final.kind === 'deny') return final;
    }
    const doubt = staleBecause === undefined ? undefined : `what is here was not confirmed: ${staleBecause}`;
    return { kind: 'ok', doubt };
  }

  /** Fetches all that the first manifest leads to, and what refers to it. */
  async #whole(signal: AbortSignal): Promise<ImageState | undefined> {
    const state = await this.#tree((part) => part.role !== 'referrer', signal);
    if (state === undefined) return undefined;
    this.#announce(state);
    const own = blobsOf(state).filter(({ role }) => role !== 'referrer');
    // First what the image cannot do without: an upstream that limits requests may not grant the others too.
    await this.#fillAll(own, signal);
    await this.#referrers(state, signal);
    return this.#state();
  }

  /** Fetches the manifests that are missing, level by level, until there is no other to be had. */
  async #tree(wanted: (part: ImagePart) => boolean, signal: AbortSignal): Promise<ImageState | undefined> {
    for (;;) {
      const state = await this.#state();
      const missing = (state?.parts ?? []).filter((part) => {
        return part.kind === 'manifest' && !part.stored && wanted(part) && !this.#tried.has(part.digest);
      });
      if (missing.length === 0) return state;
      await eachAtOnce(missing, manifestsAtOnce, async ({ digest, role }) => {
        this.#tried.add(digest);
        await this.#attempt(digest, role, signal, async () => {
          await this.#pull({ kind: 'digest', digest }, signal);
        });
      });
    }
  }

  /** Looks up what refers to the image and its platforms' images, and to that in turn, and fetches it. */
  async #referrers(first: ImageState, signal: AbortSignal): Promise<void> {
    if (this.#options.referrers === false) return;
    const asked = new Set<Digest>();
    for (let state: ImageState | undefined = first; state !== undefined; ) {
      const subjects = state.parts.filter(({ kind, stored, digest }) => {
        return kind === 'manifest' && stored && !asked.has(digest);
      });
      if (subjects.length === 0) break;
      await eachAtOnce(subjects, manifestsAtOnce, async ({ digest }) => {
        asked.add(digest);
        await this.#lookUp(digest, signal);
      });
      state = await this.#tree(() => true, signal);
    }
    const state = await this.#state();
    await this.#fillAll(
      blobsOf(state).filter(({ role }) => role === 'referrer'),
      signal,
    );
  }

  async #lookUp(subject: Digest, signal: AbortSignal): Promise<void> {
    const { target } = this.#image;
    await this.#ifThere(signal, async () => {
      await this.#deps.listings.referrers(target, subject, undefined, signal);
    });
    for (const tag of derivedTags(subject)) {
      const reference = { kind: 'tag', tag } as const;
      const admitted = await this.#admit(reference, signal);
      if (admitted.kind === 'deny') continue;
      await this.#ifThere(signal, async () => {
        await this.#pull(reference, signal, admitted);
      });
    }
  }

  /**
   * Most images have no referrers: that there is none is no failure. Any other is a warning, after which no more are
   * looked up, since an upstream that limits or refuses requests does not want more of them.
   */
  async #ifThere(signal: AbortSignal, work: () => Promise<void>): Promise<void> {
    if (this.#lookUpFailed) return;
    try {
      await work();
    } catch (error) {
      signal.throwIfAborted();
      if (!(error instanceof OciError)) throw error;
      if (error.code === 'MANIFEST_UNKNOWN' || error.code === 'NAME_UNKNOWN' || this.#lookUpFailed) return;
      this.#lookUpFailed = true;
      this.#warnings.add(`signatures and SBOMs may be missing: ${error.message}`);
    }
  }

  async #fillAll(parts: readonly ImagePart[], signal: AbortSignal): Promise<void> {
    const missing = parts.filter(({ stored, digest }) => !stored && !this.#tried.has(digest));
    for (const part of missing) {
      this.#tried.add(part.digest);
      this.#tell(part, 0, 'waiting');
    }
    await Promise.all(
      missing.map((part) => {
        return this.#attempt(part.digest, part.role, signal, () => this.#fill(part, signal));
      }),
    );
  }

  async #fill(part: ImagePart, signal: AbortSignal): Promise<void> {
    const { fills, blobs, turns } = this.#deps;
    const tell: TellBlob = (arrived, state) => this.#tell(part, arrived, state);
    const how = await warmBlob(this.#image.target, part, { fills, blobs, turns, tell }, signal);
    if (how !== 'fetched') return;
    this.#fetched += 1;
    this.#bytes += part.size;
  }

  #tell(part: ImagePart, arrived: number, state: 'waiting' | 'arriving' | 'stored' | 'failed'): void {
    const { digest, size, role, platform } = part;
    this.#deps.onEvent({ kind: 'blob', image: this.#title, digest, role, platform, size, arrived, state });
  }

  #announce(state: ImageState): void {
    const blobs = blobsOf(state).filter(({ role }) => role !== 'referrer');
    this.#deps.onEvent({
      kind: 'image',
      image: this.#title,
      digest: state.digest,
      blobs: blobs.length,
      bytes: sizeOf(blobs),
      missing: sizeOf(blobs.filter(({ stored }) => !stored)),
    });
  }

  /** Keeps a failure of one part, so that the others go on. */
  async #attempt(
    digest: Digest,
    role: ImagePart['role'],
    signal: AbortSignal,
    work: () => Promise<void>,
  ): Promise<void> {
    try {
      await work();
    } catch (error) {
      signal.throwIfAborted();
      if (!(error instanceof OciError)) throw error;
      if (role === 'referrer') this.#warnings.add(error.message);
      else this.#failures.set(digest, error.message);
    }
  }

  async #pull(
    reference: Reference,
    signal: AbortSignal,
    admitted?: Extract<Admitted, { kind: 'allow' }>,
  ): Promise<ManifestAnswer> {
    const { manifests } = this.#deps;
    const answer = await manifests.pull({ target: this.#image.target, reference, signal }, admitted?.terms);
    if (answer.outcome === 'miss') {
      this.#fetched += 1;
      this.#bytes += answer.manifest.bytes.length;
    }
    return answer;
  }

  async #admit(reference: Reference, signal: AbortSignal): Promise<Admitted> {
    const { admission } = this.#deps;
    const { target } = this.#image;
    return reference.kind === 'tag'
      ? admission.tag(target, reference.tag, undefined, signal)
      : admission.digest(target, reference.digest, signal);
  }

  #state(): Promise<ImageState | undefined> {
    return this.#deps.images.state(this.#image, this.#options.platforms);
  }

  #problemOf(state: ImageState): string | undefined {
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

function blobsOf(state: ImageState | undefined): readonly ImagePart[] {
  return (state?.parts ?? []).filter(({ kind }) => kind === 'blob');
}

function sizeOf(parts: readonly ImagePart[]): number {
  return parts.reduce((sum, { size }) => sum + size, 0);
}
