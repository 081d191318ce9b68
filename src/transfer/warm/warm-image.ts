import { eachAtOnce, type Semaphore } from '../../lib/concurrency.ts';
import type { Digest } from '../../oci/digest.ts';
import { OciError } from '../../oci/errors.ts';
import type { Admit } from '../../pull/admission/admit.ts';
import type { Fills } from '../../pull/blobs/fills.ts';
import type { PullListings } from '../../pull/listings/listings.ts';
import type { PullManifests } from '../../pull/manifests/manifests.ts';
import { isClosed, requireUpstreams } from '../../pull/source.ts';
import type { Lease, StoredBlobs } from '../../store/stored-blobs.ts';
import type { Images } from '../images/images.ts';
import { type ImageState, type ImageTarget, imageTitle } from '../images/images.ts';
import type { ImagePart } from '../images/walk.ts';
import { type TellBlob, warmBlob } from './warm-blob.ts';
import type { WarmEvent, WarmResult } from './warm-events.ts';
import { WarmReferrers } from './warm-referrers.ts';
import { WarmTally } from './warm-tally.ts';

/** What warming works with. */
export type WarmDeps = {
  readonly images: Images;
  readonly admit: Admit;
  readonly manifests: PullManifests;
  readonly listings: PullListings;
  readonly fills: Fills;
  readonly blobs: StoredBlobs;
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

/** What one image is warmed with. */
type WarmImageDeps = WarmDeps & {
  readonly semaphore: Semaphore;
  readonly onEvent: (event: WarmEvent) => void;
};

/** Warms one image; used once. */
export class WarmImage {
  readonly #image: ImageTarget;
  readonly #title: string;
  readonly #deps: WarmImageDeps;
  readonly #options: WarmOptions;
  readonly #tally = new WarmTally();
  /** What is found stored stays so until the image is done with. */
  readonly #lease: Lease;
  /** Manifests and blobs that were asked for, whatever came of it. */
  readonly #tried = new Set<Digest>();

  constructor(image: ImageTarget, deps: WarmImageDeps, options: WarmOptions) {
    this.#image = image;
    this.#title = imageTitle(image);
    this.#deps = deps;
    this.#lease = deps.blobs.lease();
    this.#options = options;
  }

  /** As `Warm.run`. */
  async run(signal: AbortSignal): Promise<WarmResult> {
    try {
      return await this.#run(signal);
    } finally {
      this.#lease.release();
    }
  }

  async #run(signal: AbortSignal): Promise<WarmResult> {
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
      const problem = this.#tally.problemOf(state) ?? found.doubt;
      if (problem !== undefined) return this.#end('failed', before, state.digest, problem);
      const same = this.#tally.fetched === 0 && before?.whole === true && before.digest === state.digest;
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
      fetched: this.#tally.fetched,
      bytes: this.#tally.bytes,
      message,
      warnings: this.#tally.warnings,
    };
  }

  /** Fetches the manifest that the image's name stands for, where policy lets a client have it. */
  async #first(
    signal: AbortSignal,
  ): Promise<{ kind: 'ok'; doubt: string | undefined } | { kind: 'deny'; message: string }> {
    const admitted = await this.#deps.admit.manifest({ ...this.#image, signal });
    if (admitted.kind === 'deny') {
      if (admitted.fetched !== undefined) this.#tally.addManifest(admitted.fetched);
      return admitted;
    }
    this.#tally.addManifest(admitted.answer);
    const { staleBecause } = admitted.answer;
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
        await this.#tally.attempt({ digest, role }, signal, async () => {
          const { target } = this.#image;
          const reference = { kind: 'digest', digest } as const;
          this.#tally.addManifest(await this.#deps.manifests.pull({ target, reference, signal }));
        });
      });
    }
  }

  /** Looks up what refers to the image and its platforms' images, and to that in turn, and fetches it. */
  async #referrers(first: ImageState, signal: AbortSignal): Promise<void> {
    if (this.#options.referrers === false) return;
    const { admit, listings } = this.#deps;
    const { target } = this.#image;
    const referrers = new WarmReferrers({ admit, listings, tally: this.#tally }, { target });
    const asked = new Set<Digest>();
    for (let state: ImageState | undefined = first; state !== undefined; ) {
      const subjects = state.parts.filter(({ kind, stored, digest }) => {
        return kind === 'manifest' && stored && !asked.has(digest);
      });
      if (subjects.length === 0) break;
      await eachAtOnce(subjects, manifestsAtOnce, async ({ digest }) => {
        asked.add(digest);
        await referrers.lookUp(digest, signal);
      });
      state = await this.#tree(() => true, signal);
    }
    const state = await this.#state();
    await this.#fillAll(
      blobsOf(state).filter(({ role }) => role === 'referrer'),
      signal,
    );
  }

  async #fillAll(parts: readonly ImagePart[], signal: AbortSignal): Promise<void> {
    const missing = parts.filter(({ stored, digest }) => !stored && !this.#tried.has(digest));
    for (const part of missing) {
      this.#tried.add(part.digest);
      this.#tell(part, 0, 'waiting');
    }
    await Promise.all(
      missing.map((part) => {
        return this.#tally.attempt(part, signal, () => this.#fill(part, signal));
      }),
    );
  }

  async #fill(part: ImagePart, signal: AbortSignal): Promise<void> {
    const { fills, blobs, semaphore } = this.#deps;
    const tell: TellBlob = (arrived, state) => this.#tell(part, arrived, state);
    const how = await warmBlob(this.#image.target, part, { fills, blobs, semaphore, tell }, signal);
    if (how === 'fetched') this.#tally.addBlob(part.size);
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

  #state(): Promise<ImageState | undefined> {
    return this.#deps.images.state(this.#image, this.#options.platforms, this.#lease);
  }
}

function blobsOf(state: ImageState | undefined): readonly ImagePart[] {
  return (state?.parts ?? []).filter(({ kind }) => kind === 'blob');
}

function sizeOf(parts: readonly ImagePart[]): number {
  return parts.reduce((sum, { size }) => sum + size, 0);
}
