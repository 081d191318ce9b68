import { LRUCache } from 'lru-cache';
import { abandonOnAbort } from '../../lib/abort.ts';
import type { Clock } from '../../lib/clock.ts';
import { Flights } from '../../lib/flights.ts';
import type { Digest } from '../../oci/digest.ts';
import { OciError } from '../../oci/errors.ts';
import type { Metadata } from '../../store/metadata.ts';
import type { StoredBlobs } from '../../store/stored-blobs.ts';
import { Absences } from '../asking/absences.ts';
import { askInOrder, inTagOrder } from '../asking/ask.ts';
import { isAbsence, verdictError } from '../asking/outcomes.ts';
import type { BlobContent } from '../fill/content.ts';
import { bytesByUpstream } from '../fill/delivery.ts';
import type { Fill } from '../fill/fill.ts';
import { failureOf, isVerified } from '../fill/fill-state.ts';
import { type CacheOutcome, imageName, keyOf, type ResolvedRepository } from '../repository.ts';
import { absentError, isClosed, upstreamsOf } from '../source.ts';
import { tagLeadingTo } from '../ways.ts';
import type { Fills } from './fills.ts';

/** What is known of a blob without touching its bytes. */
export type BlobStat = { readonly size: number; readonly outcome: CacheOutcome };

/** Leave to read a blob through a repository. */
type Leave = {
  /** Bytes, where a manifest says so. */
  readonly size: number | undefined;
  /** Bytes as an upstream's HEAD has it: shown, but no bound, since nothing vouches for it. */
  readonly hint: number | undefined;
};

/** How long upstreams that cannot tell now are not asked again, in milliseconds: one client's burst of retries. */
const burst = 1_000;

/** Blobs by digest: from disk, or from the one fill that all who ask for it share. */
export class PullBlobs {
  readonly #blobs: StoredBlobs;
  readonly #metadata: Pick<Metadata, 'links'>;
  readonly #fills: Fills;
  readonly #absences: Absences;
  readonly #leaves = new LRUCache<string, Leave>({ max: 50_000 });
  readonly #flights = new Flights<Leave>({ deadline: 120_000 });

  constructor(deps: {
    blobs: StoredBlobs;
    metadata: Pick<Metadata, 'links'>;
    fills: Fills;
    clock: Clock;
  }) {
    this.#blobs = deps.blobs;
    this.#metadata = deps.metadata;
    this.#fills = deps.fills;
    this.#absences = new Absences({ clock: deps.clock });
  }

  /**
   * The blob's size, without opening a file or starting a download.
   * @throws OciError `BLOB_UNKNOWN`, `DENIED`, `TOOMANYREQUESTS` or `UNAVAILABLE`
   */
  async stat(target: ResolvedRepository, digest: Digest, signal: AbortSignal): Promise<BlobStat> {
    const leave = await this.#leave(target, digest, signal);
    const stored = await this.#blobs.size(digest);
    if (stored !== undefined) return { size: stored, outcome: 'hit' };
    if (isClosed(target.registry)) throw await this.#absent(target, digest);
    const fill = this.#running(target, digest);
    const size = sizeOf(leave) ?? sizeOf(await this.#askUpstream(target, digest, signal));
    if (size !== undefined)
      return { size, outcome: fill === undefined ? 'miss' : isVerified(fill.state) ? 'hit' : 'joined' };
    const content = await this.open(target, digest, signal);
    await content.close();
    return { size: content.size, outcome: content.outcome };
  }

  /**
   * Opens a blob: the stored one, or the fill that is bringing it (started if need be).
   * @throws OciError as {@link PullBlobs.stat} does, and whatever ends a fill before its size is known
   */
  async open(target: ResolvedRepository, digest: Digest, signal: AbortSignal): Promise<BlobContent> {
    const leave = await this.#leave(target, digest, signal);
    const running = this.#fills.find(digest);
    const file = running === undefined ? await this.#blobs.open(digest) : undefined;
    if (file !== undefined) {
      const { size, read, close } = file;
      return {
        size,
        outcome: 'hit',
        upstream: undefined,
        firstByteMs: undefined,
        origin: undefined,
        read,
        close,
      };
    }
    if (isClosed(target.registry)) throw await this.#absent(target, digest);
    const { fill, joined } = this.#join(target, digest, leave.size);
    const reader = fill.reader();
    try {
      const size = await fill.size(signal);
      // There is no last piece to hold back: nothing may be said before the digest is right.
      if (size === 0) await abandonOnAbort(fill.done, signal);
      return {
        size,
        outcome: isVerified(fill.state) ? 'hit' : joined ? 'joined' : 'miss',
        get upstream() {
          return [...fill.upstreams].join(', ') || undefined;
        },
        get origin() {
          const [first] = fill.deliveries;
          return first && { upstreams: bytesByUpstream(fill.deliveries), because: first.because };
        },
        get firstByteMs() {
          return fill.firstByteMs;
        },
        read: reader.read,
        close: reader.close,
      };
    } catch (error) {
      await reader.close();
      throw error;
    }
  }

  /**
   * Begins the download of a blob that is not stored, or joins it, without reading it: without a reader it is given up
   * after a while. Resolves once the blob is stored.
   * @throws OciError as {@link PullBlobs.open} does, and whatever ends the fill; the signal's reason when it aborts first
   */
  async begin(target: ResolvedRepository, digest: Digest, signal: AbortSignal): Promise<void> {
    const leave = await this.#leave(target, digest, signal);
    const running = this.#fills.find(digest);
    if (running === undefined && (await this.#blobs.size(digest)) !== undefined) return;
    if (isClosed(target.registry)) throw await this.#absent(target, digest);
    const { fill } = this.#join(target, digest, leave.size);
    await abandonOnAbort(fill.done, signal);
  }

  /** Aborts what is under way, but for fills. */
  close(): void {
    void this.#flights.close();
  }

  /**
   * The fill of a digest that may be joined, if there is one.
   * @throws OciError without one, what is remembered of the blob
   */
  #running(target: ResolvedRepository, digest: Digest): Fill | undefined {
    const fill = this.#fills.find(digest);
    if (fill !== undefined && failureOf(fill.state) === undefined) return fill;
    const absent = this.#absences.recall(nameOf(target, digest));
    if (absent !== undefined) throw absent;
    return undefined;
  }

  #join(target: ResolvedRepository, digest: Digest, size: number | undefined) {
    this.#running(target, digest);
    const { fill, joined } = this.#fills.join(target, digest, size);
    if (!joined) {
      // What ends it says nothing about other repositories than the one that it is fetched from.
      fill.outcome.catch((error) => this.#remember(target, digest, error, 0));
    }
    return { fill, joined };
  }

  /** Remembers what upstreams do not have or do not give; `whileDown` milliseconds that they cannot tell. */
  #remember(target: ResolvedRepository, digest: Digest, error: unknown, whileDown: number): void {
    if (!(error instanceof OciError)) return;
    const { negativeTtl } = target.registry;
    const certain = error.code === 'DENIED' || isAbsence(error);
    this.#absences.remember(nameOf(target, digest), error, certain ? negativeTtl : whileDown);
  }

  /** A manifest of the repository names the digest, or else the repository's upstream vouches for it. */
  async #leave(target: ResolvedRepository, digest: Digest, signal: AbortSignal): Promise<Leave> {
    const name = nameOf(target, digest);
    const known = this.#leaves.get(name);
    if (known !== undefined) return known;
    const link = await this.#metadata.links.get(keyOf(target), digest);
    if (link === undefined) return this.#askUpstream(target, digest, signal);
    // What upstreams said before a manifest named it was perhaps said before it was there.
    if (!this.#leaves.has(name)) this.#absences.forget(name);
    return this.#keep(name, { size: link.size, hint: undefined });
  }

  /** Keeps leave, with what others have found out of the same blob meanwhile. */
  #keep(name: string, { size, hint }: Leave): Leave {
    const known = this.#leaves.get(name);
    const leave = { size: known?.size ?? size, hint: known?.hint ?? hint };
    this.#leaves.set(name, leave);
    return leave;
  }

  /** The leave that is known and says a size, once it is looked for with nobody else asking upstream. */
  async #sized(target: ResolvedRepository, digest: Digest): Promise<Leave | undefined> {
    const name = nameOf(target, digest);
    const known = this.#leaves.get(name);
    if (known !== undefined && sizeOf(known) !== undefined) return known;
    const link = await this.#metadata.links.get(keyOf(target), digest);
    return link?.size === undefined ? undefined : this.#keep(name, { size: link.size, hint: undefined });
  }

  async #absent(target: ResolvedRepository, digest: Digest): Promise<OciError> {
    const image = imageName(target);
    const tag = await tagLeadingTo(this.#metadata.links, keyOf(target), digest);
    const bundle = tag === undefined ? image : `${image}:${tag}`;
    return absentError(target.registry.source, 'BLOB_UNKNOWN', `blob ${digest} of ${bundle}`, bundle);
  }

  async #askUpstream(target: ResolvedRepository, digest: Digest, signal: AbortSignal): Promise<Leave> {
    if (isClosed(target.registry)) throw await this.#absent(target, digest);
    const name = nameOf(target, digest);
    const absent = this.#absences.recall(name);
    if (absent !== undefined) throw absent;
    const { value } = await this.#flights.join(
      name,
      async (own) => {
        const come = await this.#sized(target, digest);
        if (come !== undefined) return come;
        const answer = await askInOrder(
          // To vouch for what another repository brought takes the trust of who may say what a tag names.
          inTagOrder(upstreamsOf(target.registry)),
          (upstream, attempt) => {
            target.budget?.spend();
            return upstream.headBlob(target.repository, digest, attempt);
          },
          own,
        );
        if (answer.kind === 'refused') {
          const error = verdictError(
            answer.verdict,
            `blob ${digest} of ${imageName(target)}`,
            'BLOB_UNKNOWN',
          );
          this.#remember(target, digest, error, Math.min(target.registry.negativeTtl, burst));
          throw error;
        }
        await this.#metadata.links.put(keyOf(target), digest, undefined);
        return this.#keep(name, { size: undefined, hint: answer.value.size });
      },
      signal,
    );
    return value;
  }
}

/** Bytes that are shown. */
function sizeOf({ size, hint }: Leave): number | undefined {
  return size ?? hint;
}

/** What is known of a blob in a repository is kept under this. */
function nameOf(target: ResolvedRepository, digest: Digest): string {
  return `${imageName(target)} ${digest}`;
}
