import type { Clock } from '../../lib/clock.ts';
import type { Slices } from '../../lib/concurrency.ts';
import type { Tell } from '../../lib/facts.ts';
import type { Digest } from '../../oci/digest.ts';
import { OciError } from '../../oci/errors.ts';
import { parseManifest } from '../../oci/manifest.ts';
import { mediaTypes } from '../../oci/media-types.ts';
import { referrersTag } from '../../oci/reference.ts';
import type { RepositoryKey } from '../../oci/repository-key.ts';
import type { StoredListing } from '../../store/listing-records.ts';
import type { Metadata } from '../../store/metadata.ts';
import type { ReferrersBody } from '../../upstream/result.ts';
import type { PullFact } from '../pull-facts.ts';
import { type Ask, type DigestAsk, imageName, keyOf } from '../repository.ts';
import { isClosed } from '../source.ts';
import { FreshLists } from './fresh-lists.ts';
import type { HowListed, ReferrersAnswer } from './pages.ts';
import { storedReferrers } from './stored-referrers.ts';
import { type ReadTags, TagLists } from './tag-lists.ts';

/** Bytes of tag lists that are remembered. */
const rememberedTags = 32 * 1024 * 1024;

const filtered = ';filtered=';

/** Tag lists and referrers: asked upstream, kept for a while, and served stale when no upstream answers. */
export class PullListings {
  readonly #metadata: Pick<Metadata, 'links' | 'listings' | 'manifests' | 'tags'>;
  readonly #clock: Clock;
  readonly #facts: Tell<PullFact>;
  readonly #tags: TagLists;
  readonly #referrers: FreshLists<ReferrersBody, StoredListing>;
  readonly #limit: number;

  /**
   * @param deps.facts is told of a repository of which a referrer became known
   * @param options.manifestSize the largest referrers index accepted, in bytes
   */
  constructor(
    deps: {
      metadata: Pick<Metadata, 'links' | 'listings' | 'manifests' | 'tags'>;
      clock: Clock;
      slices: Slices;
      facts: Tell<PullFact>;
    },
    options: { manifestSize: number },
  ) {
    this.#facts = deps.facts;
    this.#metadata = deps.metadata;
    this.#clock = deps.clock;
    this.#tags = new TagLists(deps, { memory: rememberedTags });
    this.#referrers = new FreshLists(deps);
    this.#limit = options.manifestSize;
  }

  /**
   * Has the repository's tags read, in lexical order (distribution-spec, "Listing Tags"): see `TagLists.read`.
   * @throws OciError `NAME_UNKNOWN`, `DENIED`, `TOOMANYREQUESTS` or `UNAVAILABLE`
   */
  tags<T>(ask: Pick<Ask, 'target' | 'signal'>, read: ReadTags<T>): Promise<HowListed & { value: T }> {
    return this.#tags.read(ask, read);
  }

  /** Forgets what is remembered of a repository's stored tags: they may be others. */
  forget(key: RepositoryKey): void {
    this.#tags.forget(key);
  }

  /**
   * The manifests that refer to a digest (distribution-spec, "Listing Referrers"), as the upstream lists them.
   * @throws OciError `MANIFEST_UNKNOWN` when the upstream has no referrers API: clients then ask for the fallback tag,
   * which oras would not after `NAME_UNKNOWN`; and as {@link PullListings.tags} does
   */
  async referrers(ask: DigestAsk, artifactType: string | undefined): Promise<ReferrersAnswer> {
    const { target, reference } = ask;
    const { digest } = reference;
    const key = keyOf(target);
    if (isClosed(target.registry)) return storedReferrers(this.#metadata, key, digest, artifactType);
    const name = `referrers ${digest} ${artifactType ?? ''}`;
    const { listings } = this.#metadata;
    const { kept, ...how } = await this.#referrers.current(ask, {
      name,
      title: `the list of what refers to ${digest} of ${imageName(target)}`,
      missing: 'MANIFEST_UNKNOWN',
      next: `ask for the tag ${referrersTag(digest)} instead`,
      kept: () => listings.get(key, name),
      ask: (upstream, signal) =>
        upstream.listReferrers(target.repository, digest, artifactType, this.#limit, signal),
      keep: async ({ bytes, filtersApplied }) => {
        await this.#noteReferrers(key, digest, bytes);
        const suffix = filtersApplied === undefined ? '' : `${filtered}${filtersApplied}`;
        const mediaType = `${mediaTypes.ociIndex}${suffix}`;
        const listing = { body: bytes, mediaType, checkedAt: this.#clock.now() };
        await listings.put(key, name, listing);
        return listing;
      },
      drop: () => listings.drop(key, name),
    });
    const [mediaType = mediaTypes.ociIndex, filtersApplied] = kept.mediaType.split(filtered);
    return { body: kept.body, mediaType, filtersApplied, ...how };
  }

  /** Aborts what is under way, and resolves when it has ended. */
  async close(): Promise<void> {
    await Promise.all([this.#tags.close(), this.#referrers.close()]);
  }

  /** What is listed as referring to a digest may be read where that digest may. */
  async #noteReferrers(key: RepositoryKey, subject: Digest, index: Buffer): Promise<void> {
    const referrers = referrersOf(index);
    if (referrers.length === 0) return;
    await this.#metadata.links.putReferrers(key, subject, referrers);
    this.#facts.tell({ kind: 'provenance-changed', key, tags: false, manifest: false });
  }
}

/** The digests that an index lists; none of one that cannot be read, which is its reader's affair. */
function referrersOf(index: Buffer): readonly Digest[] {
  try {
    const parsed = parseManifest(index, mediaTypes.ociIndex);
    return parsed.kind === 'index' ? parsed.manifests.map(({ digest }) => digest) : [];
  } catch (error) {
    if (error instanceof OciError) return [];
    throw error;
  }
}
